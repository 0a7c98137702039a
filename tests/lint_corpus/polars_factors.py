"""Cross-sectional factors with polars."""
import polars as pl

prices = pl.scan_parquet("prices/*.parquet").sort(["symbol", "date"])

returns = prices.with_columns(
    ret=pl.col("close").pct_change().over("symbol"),
    mom=(pl.col("close").shift(21) / pl.col("close").shift(252) - 1).over("symbol"),
    vol=pl.col("close").pct_change().rolling_std(60).over("symbol"),
    high_52=(pl.col("close") / pl.col("close").rolling_max(252)).over("symbol"),
)

factors = returns.with_columns(
    mom_rank=(pl.col("mom").rank() / pl.col("mom").count()).over("date"),
    vol_z=((pl.col("vol") - pl.col("vol").mean()) / pl.col("vol").std()).over("date"),
    size=pl.col("market_cap").log().over("date"),
).with_columns((pl.col("mom_rank") - pl.col("vol_z").clip(-3, 3) / 6).alias("score"))

fundamentals = pl.scan_parquet("fundamentals.parquet").sort("filed")
joined = factors.sort("date").join_asof(fundamentals, left_on="date", right_on="filed", by="symbol", strategy="backward", tolerance="400d")
joined = joined.with_columns(value=(pl.col("book_value") / pl.col("market_cap")).fill_null(strategy="forward").over("symbol"))

labelled = joined.with_columns(
    pl.col("ret").shift(-1).over("symbol").alias("fwd_ret"),
)
ic = labelled.group_by("date").agg(pl.corr("score", "fwd_ret", method="spearman").alias("ic")).sort("date").collect()
print(ic["ic"].mean(), ic["ic"].mean() / ic["ic"].std())

weights = joined.with_columns(
    w=((pl.col("score") - pl.col("score").mean()) / (pl.col("score") - pl.col("score").mean()).abs().sum()).over("date")
)
pnl = (
    weights.with_columns(held=pl.col("w").shift(1).over("symbol"))
    .group_by("date")
    .agg((pl.col("held") * pl.col("ret")).sum().alias("pnl"))
    .sort("date")
    .collect()
)
print(pnl.tail(5))
print(pnl.select((pl.col("pnl").mean() / pl.col("pnl").std() * 252 ** 0.5).alias("sharpe")))
