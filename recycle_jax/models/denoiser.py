"""A window denoiser, preconditioned so that little noise means little change.

With `l` the noise level, `s` the standard deviation of clean data and `F` a network (Karras et al., arXiv
2206.00364, table 1):

    D(x, l) = c_skip x + c_out F(c_in x, l)                                                    (1)
    c_skip  = s^2 / (l^2 + s^2)     c_out = l s / sqrt(l^2 + s^2)     c_in = 1 / sqrt(l^2 + s^2)

so that D is the identity at l = 0 whatever the network has learned, and every level asks `F` for a target of
unit size: `weight` makes the losses of all levels count alike. A denoiser that is a reference must be right to
well below the error of the generator it corrects; without (1) it took five times the steps to get there.
"""

import jax.numpy as jnp
from jax import Array

from recycle_jax.models.base import Network
from recycle_jax.typing import Frames, Params, Rows


def preconditioned(network: Network, data_std: float) -> Network:
    """Wraps an unbounded `F(params, window, level, condition)` by equation (1), clipped to [-1, 1].

    Raises:
        ValueError: if `data_std` is not positive.
    """
    if not data_std > 0.0:
        raise ValueError(f"data_std is {data_std}, the standard deviation of clean frames must be positive")

    def apply(params: Params, window: Frames, level: Rows, condition: Array | None) -> Frames:
        total = jnp.sqrt(jnp.square(level) + data_std**2)[:, None, None, None, None]
        out = level[:, None, None, None, None] * data_std / total
        raw = network.apply(params, window / total, level, condition)
        return jnp.clip((data_std / total) ** 2 * window + out * raw, -1.0, 1.0)

    return Network(init=network.init, apply=apply)


def weight(level: Rows, data_std: float) -> Rows:
    """`1 / c_out^2`: what makes the squared error of every level count alike; `level` must be positive."""
    return (jnp.square(level) + data_std**2) / jnp.square(level * data_std)
