"""Moving average crossover on one ETF, with costs and a buy-and-hold benchmark."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

FAST, SLOW, COST_BPS = 20, 100, 2.0


def load(path="spy.csv"):
    df = pd.read_csv(path, parse_dates=["Date"], index_col="Date").sort_index()
    df = df[~df.index.duplicated(keep="last")]
    return df.loc["2005":]


def signals(df, fast=FAST, slow=SLOW):
    out = df.copy()
    out["ma_fast"] = out["Close"].rolling(fast).mean()
    out["ma_slow"] = out["Close"].rolling(slow).mean()
    out["signal"] = np.where(out["ma_fast"] > out["ma_slow"], 1.0, 0.0)
    out["position"] = out["signal"].shift(1).fillna(0)
    return out


def backtest(df):
    out = signals(df)
    out["ret"] = out["Close"].pct_change()
    out["turnover"] = out["position"].diff().abs().fillna(0)
    out["strategy"] = out["position"] * out["ret"] - out["turnover"] * COST_BPS / 1e4
    out["equity"] = (1 + out["strategy"].fillna(0)).cumprod()
    out["benchmark"] = (1 + out["ret"].fillna(0)).cumprod()
    return out


def stats(returns, periods=252):
    returns = returns.dropna()
    equity = (1 + returns).cumprod()
    drawdown = equity / equity.cummax() - 1
    years = len(returns) / periods
    downside = returns[returns < 0].std() * np.sqrt(periods)
    return pd.Series({
        "cagr": equity.iloc[-1] ** (1 / years) - 1,
        "vol": returns.std() * np.sqrt(periods),
        "sharpe": returns.mean() / returns.std() * np.sqrt(periods),
        "sortino": returns.mean() * periods / downside,
        "max_drawdown": drawdown.min(),
        "calmar": (equity.iloc[-1] ** (1 / years) - 1) / -drawdown.min(),
        "skew": ((returns - returns.mean()) ** 3).mean() / returns.std() ** 3,
        "var_95": returns.quantile(0.05),
        "cvar_95": returns[returns <= returns.quantile(0.05)].mean(),
        "hit_rate": (returns > 0).mean(),
    })


def monthly_table(returns):
    monthly = (1 + returns).resample("ME").prod() - 1
    table = monthly.to_frame("ret").assign(year=lambda d: d.index.year, month=lambda d: d.index.month)
    return table.pivot(index="year", columns="month", values="ret")


def main():
    df = backtest(load())
    print(stats(df["strategy"]), stats(df["ret"]))
    print(monthly_table(df["strategy"]).round(3))
    fig, (top, bottom) = plt.subplots(2, 1, sharex=True)
    df[["equity", "benchmark"]].plot(ax=top, logy=True)
    (df["equity"] / df["equity"].cummax() - 1).plot(ax=bottom, kind="area")
    normed = df["Close"] / df["Close"].iloc[0]
    top.plot(normed.index, normed, alpha=0.3)
    trades = df["position"].diff().fillna(0)
    entries, exits = df.index[trades > 0], df.index[trades < 0]
    holding = [(b - a).days for a, b in zip(entries, exits)]
    print("trades", len(entries), "mean holding", np.mean(holding))
    plt.show()


if __name__ == "__main__":
    main()
