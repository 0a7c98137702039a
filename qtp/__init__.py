"""qtp: a notebook-first workbench for point-in-time correct US-equity research.

The names below are loaded when they are first used, so that `import qtp` costs next to nothing.
"""
__version__ = "0.1.0"

from importlib import import_module

_SHORTCUTS = {
    "feature": "qtp.features.registry",
    "materialize": "qtp.features.engine",
    "audit": "qtp.causality.audit",
    "assert_causal": "qtp.causality.audit",
    "lint": "qtp.causality.lint",
    "replay": "qtp.causality.replay",
    "backtest": "qtp.backtest.engine",
    "run_experiment": "qtp.workbench.runner",
    "simulate_market": "qtp.data.simulate",
}
__all__ = ["assert_causal", "audit", "backtest", "feature", "lint", "materialize", "replay", "run_experiment", "simulate_market"]


def __getattr__(name):
    if name not in _SHORTCUTS:
        raise AttributeError(f"module 'qtp' has no attribute {name!r}")
    # A package and a function may share a name (qtp.backtest): the function wins here, the package stays importable.
    return getattr(import_module(_SHORTCUTS[name]), name)


def __dir__():
    return sorted([*globals(), *__all__])
