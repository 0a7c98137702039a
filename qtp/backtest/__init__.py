"""Backtesting: the ledger, its metrics, stress windows and tear sheet.

The package has the name of its main function, so it can be called: `qtp.backtest(weights, bars)` is
`qtp.backtest.engine.backtest(weights, bars)`, whether or not the package was imported before.
"""
import sys
from types import ModuleType


class _CallablePackage(ModuleType):
    "A package that forwards a call to the function of its name."

    def __call__(self, *args, **kwargs):
        from qtp.backtest.engine import backtest

        return backtest(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
