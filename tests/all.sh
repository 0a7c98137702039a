#!/usr/bin/env bash
# Every check of CI, in the order in which it fails fastest. Stops at the first failure and says which one it was.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$1"; shift; "$@" || { echo "FAILED: $*"; exit 1; }; }

step "Notebooks: exported, clean, one a module"  python tests/check_notebooks.py
step "Import layers"                             lint-imports --no-logo
step "Lint"                                      ruff check qtp tests benchmarks docs
step "README is current"                         python docs/readme.py --check
step "Notebook tests"                            nbdev_test --n_workers 2 --timing
step "Road, properties, command line"            python -m pytest tests
step "Docs build"                                python docs/build.py --no-execute
echo; echo "All checks passed."
