"""Two zipline factors under the audit: one of zipline's own, one that reads a table around the pipeline.

Run by `benchmarks/recipes_elsewhere.py` in an environment that has zipline-reloaded; qtp is found on the path and needs numpy and pandas alone.
"""
import numpy as np
import pandas as pd
from zipline.pipeline import CustomFactor, Pipeline
from zipline.pipeline.data import USEquityPricing
from zipline.pipeline.domain import US_EQUITIES
from zipline.pipeline.engine import SimplePipelineEngine
from zipline.pipeline.factors import SimpleMovingAverage
from zipline.pipeline.loaders.frame import DataFrameLoader
from zipline.testing.core import make_simple_equity_info, tmp_asset_finder
from zipline.utils.calendar_utils import get_calendar

from qtp.causality.audit import audit

NAMES = ("A", "B", "C", "D")
DAYS = get_calendar("XNYS").sessions_in_range("2022-01-03", "2022-12-30")
CLOSE = 50 * np.exp(np.random.default_rng(0).normal(0, .02, (len(DAYS), len(NAMES))).cumsum(0))


class Momentum(CustomFactor):
    inputs, window_length = [USEquityPricing.close], 21
    def compute(self, today, assets, out, close): out[:] = close[-1] / close[0] - 1


class Tuned(Momentum):
    "Momentum scaled by a volatility that was computed beforehand, from the whole history."
    volatility = pd.DataFrame(CLOSE, DAYS).pct_change().std().to_numpy()
    def compute(self, today, assets, out, close): out[:] = (close[-1] / close[0] - 1) / self.volatility


class Peeking(Momentum):
    "Momentum with tomorrow's close from a frame that the notebook still holds."
    prices = pd.DataFrame(CLOSE, DAYS, NAMES)
    def compute(self, today, assets, out, close): out[:] = self.prices.shift(-1).reindex([today]).to_numpy()[0] / close[0] - 1


def factor(term):
    "The factor as a function of bars: what the audit takes."
    def compute(bars):
        close = bars["close"]
        info = make_simple_equity_info(range(len(close.columns)), DAYS[0], DAYS[-1], symbols=list(close.columns))
        listed = pd.DataFrame([{"exchange": "TEST", "canonical_name": "TEST", "country_code": "US"}])
        with tmp_asset_finder(equities=info, exchanges=listed) as finder:
            loader = DataFrameLoader(USEquityPricing.close, close.set_axis(range(len(close.columns)), axis=1))
            engine = SimplePipelineEngine(lambda column: loader, finder, default_domain=US_EQUITIES)
            answer = engine.run_pipeline(Pipeline({"value": term()}), close.index[25], close.index[-1])
        out = answer["value"].unstack()
        return out.set_axis([a.symbol for a in out.columns], axis=1)
    compute.__name__ = term.__name__
    return compute


def main():
    bars = pd.concat({"close": pd.DataFrame(CLOSE, DAYS, NAMES)}, axis=1)
    for term in (lambda: SimpleMovingAverage(inputs=[USEquityPricing.close], window_length=10), Momentum, Tuned, Peeking):
        term.__name__ = "SimpleMovingAverage" if term.__name__ == "<lambda>" else term.__name__
        report = audit(factor(term), bars, budget="quick")
        print(f"{term.__name__:<20} {report.verdict:<13} {report.reason}")


if __name__ == "__main__": main()
