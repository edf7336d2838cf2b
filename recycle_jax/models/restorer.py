"""A window restorer: a network that says what is wrong with a window.

    R(x) = clip(x + s F(x / s))                                                                    (1)

so that it only has to learn the damage, and leaves a good window nearly as it is. Where the network made the window
itself, it took motion out of slow video, and a generator trained on its answers froze.
"""

import jax.numpy as jnp
from jax import Array

from recycle_jax.models.base import Network
from recycle_jax.typing import Frames, Params, Rows


def correcting(network: Network, scale: float) -> Network:
    """Wraps an unbounded `F(params, window, level, condition)` by equation (1); `scale` is `s`.

    Raises:
        ValueError: if `scale` is not positive.
    """
    if not scale > 0.0:
        raise ValueError(f"scale is {scale}, must be positive: use the standard deviation of clean frames")

    def apply(params: Params, window: Frames, level: Rows, condition: Array | None) -> Frames:
        return jnp.clip(window + scale * network.apply(params, window / scale, level, condition), -1.0, 1.0)

    return Network(init=network.init, apply=apply)
