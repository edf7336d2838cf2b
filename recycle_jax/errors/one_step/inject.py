"""Injection of errors into a training example.

    (1)  x~0      = x0      + g_data    E_data
    (2)  ε~       = ε       + g_noise   E_noise
    (3)  context~ = context + g_context E_context

Every row draws its gates ``g`` from its own key: three independent coins, and a fourth that closes all three
(a *clean* row). Gates select with `where` and never multiply, since 0 · Inf is NaN.

Source: Stable Video Infinity, arXiv 2510.09212, equation 3, and `training_step` of its released script.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.generators.base import Example
from recycle_jax.typing import Frames, RowFlags, RowKeys


@struct.dataclass(kw_only=True)
class GateSample:
    """The gates that one batch drew; all leaves `[b]` bool, sharded over `b`.

    Attributes:
        data: whether the data end point gets an error.
        noise: whether the noise end point gets one.
        context: whether the context gets one.
        clean: whether the fourth coin closed the other three.
    """

    data: RowFlags
    noise: RowFlags
    context: RowFlags
    clean: RowFlags

    @property
    def any(self) -> RowFlags:
        """`[b]`: whether any of the three is open."""
        return self.data | self.noise | self.context


@struct.dataclass(kw_only=True)
class Errors:
    """What to inject; sharded over `b`.

    Attributes:
        data: `[b, t, h, w, c]` error of the clean chunk, or None to inject none.
        noise: `[b, t, h, w, c]` error of the noise, or None.
        context: `[b, context, h, w, c]` error of the history, or None.
    """

    data: Frames | None
    noise: Frames | None
    context: Frames | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gates:
    """Probabilities of the four coins.

    Attributes:
        data: of an error in the data end point, on rows that are not clean.
        noise: of one in the noise end point.
        context: of one in the context.
        clean: of a clean row.
    """

    data: float = 0.9
    noise: float = 0.01
    context: float = 0.9
    clean: float = 0.5

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            require_probability(field.name, getattr(self, field.name))

    def draw(self, keys: RowKeys) -> GateSample:
        """The gates of `[b]` rows."""
        chances = jnp.asarray([self.data, self.noise, self.context, self.clean], jnp.float32)
        coins = jax.vmap(lambda key: jax.random.uniform(key, (4,)) < chances)(keys)
        clean = coins[:, 3]
        return GateSample(
            data=coins[:, 0] & ~clean, noise=coins[:, 1] & ~clean, context=coins[:, 2] & ~clean, clean=clean
        )


def require_probability(name: str, value: float) -> None:
    """Raises a ValueError unless `value` is a probability."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name}={value}, but a probability lies in [0, 1]: 0 never, 1 always")


def flip(keys: RowKeys, probability: float) -> RowFlags:
    """`[b]` bool: True with the given probability, each row from its own key."""
    return jax.vmap(lambda key: jax.random.bernoulli(key, probability))(keys)


def inject(example: Example, errors: Errors, gates: GateSample) -> Example:
    """The example with errors where gates are open: (1), (2) and (3); everything else is untouched."""
    return dataclasses.replace(
        example,
        x_injected=add_where(gates.data, example.x_injected, errors.data),
        noise_injected=add_where(gates.noise, example.noise_injected, errors.noise),
        context=add_where(gates.context, example.context, errors.context),
    )


def add_where(gate: RowFlags, frames: Frames, error: Array | None) -> Frames:
    """`frames + error` on the rows whose gate is open, `frames` themselves on the others."""
    if error is None:
        return frames
    return jnp.where(gate[:, None, None, None, None], frames + error, frames)
