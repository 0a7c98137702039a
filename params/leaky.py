"""A feature that looks ahead, for `params/leak.yaml`: the road must stop at phase 4 and name it."""
from qtp import feature


@feature(family="custom", lookback=20)
def smoothed_momentum(
    close,         # (sessions, assets) close, USD
    *,
    window=5,      # sessions on either side
):                 # (sessions, assets) decimal return
    "Return of a smoothed price. The smoothing is centred, so the last sessions of each window lie ahead."
    smooth = close.rolling(2*window + 1, center=True).mean()
    return smooth/smooth.shift(window) - 1
