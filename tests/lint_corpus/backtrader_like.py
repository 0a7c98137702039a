"""Event-driven toy engine."""
from collections import deque
from dataclasses import dataclass, field

import pandas as pd


@dataclass
class Order:
    symbol: str
    size: float
    created: pd.Timestamp


@dataclass
class Broker:
    cash: float = 100_000.0
    position: float = 0.0
    pending: list = field(default_factory=list)
    log: list = field(default_factory=list)

    def fill(self, t, open_price):
        for order in self.pending:
            self.cash -= order.size * open_price * 1.0005
            self.position += order.size
            self.log.append((t, order.size, open_price))
        self.pending.clear()

    def value(self, close):
        return self.cash + self.position * close


class Breakout:
    def __init__(self, n=55, exit_n=20, risk=0.02):
        self.high, self.low, self.n, self.exit_n, self.risk = deque(maxlen=n), deque(maxlen=exit_n), n, exit_n, risk
        self.tr = deque(maxlen=20)
        self.previous = None

    def on_bar(self, t, bar, broker):
        if self.previous is not None:
            self.tr.append(max(bar.high, self.previous) - min(bar.low, self.previous))
        ready = len(self.high) == self.n and len(self.tr) == 20
        if ready and broker.position == 0 and bar.close > max(self.high):
            atr = sum(self.tr) / len(self.tr)
            broker.pending.append(Order("X", self.risk * broker.value(bar.close) / atr, t))
        elif broker.position > 0 and bar.close < min(self.low):
            broker.pending.append(Order("X", -broker.position, t))
        self.high.append(bar.high)
        self.low.append(bar.low)
        self.previous = bar.close


def run(df):
    broker, strategy, values = Broker(), Breakout(), []
    for bar in df.itertuples():
        broker.fill(bar.Index, bar.open)
        strategy.on_bar(bar.Index, bar, broker)
        values.append(broker.value(bar.close))
    return pd.Series(values, df.index), broker.log


def vectorised(df, n=55, exit_n=20):
    upper = df["high"].rolling(n).max().shift(1)
    lower = df["low"].rolling(exit_n).min().shift(1)
    long_entry, long_exit = df["close"] > upper, df["close"] < lower
    state = pd.Series(float("nan"), df.index)
    state[long_entry], state[long_exit] = 1.0, 0.0
    position = state.ffill().fillna(0)
    open_to_open = df["open"].shift(-1) / df["open"] - 1
    strategy_returns = position.shift(1) * open_to_open
    trades = []
    for i in range(1, len(df) - 1):
        if position.iloc[i] > position.iloc[i - 1]:
            entry_price = df["open"].iloc[i + 1]
            trades.append({"date": df.index[i + 1], "price": entry_price})
    return strategy_returns, pd.DataFrame(trades)


if __name__ == "__main__":
    frame = pd.read_csv("es.csv", index_col=0, parse_dates=True)
    equity, log = run(frame)
    print(equity.iloc[-1] / equity.iloc[0] - 1, len(log))
    print(vectorised(frame)[0].add(1).cumprod().iloc[-1])
