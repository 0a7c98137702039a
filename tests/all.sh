#!/usr/bin/env bash
# Every check of CI, in the order in which it fails fastest. Stops at the first failure and says which one it was.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$1"; shift; "$@" || { echo "FAILED: $*"; exit 1; }; }

# numba looks at the cell of a kernel, not at what the kernel calls: what it keeps of notebooks lasts as long as the package does not change
notebooks() {
  local kept=build/cache
  mkdir -p "$kept"
  find "$kept" -name '*.nb[ic]' ! -newer "$(ls -t $(find qtp -name '*.py') | head -n 1)" -delete
  XDG_CACHE_HOME="$PWD/$kept" nbdev_test --n_workers 2 --timing
}

step "Notebooks: exported, clean, one a module"  python tests/check_notebooks.py
step "Import layers"                             lint-imports --no-logo
step "Lint"                                      ruff check qtp tests benchmarks docs
step "README is current"                         python docs/readme.py --check
step "Notebook tests"                            notebooks
step "Road, properties, command line"            python -m pytest tests
step "Docs build"                                python docs/build.py --no-execute
echo; echo "All checks passed."
