"""One-step response to an error: does the generator damp it or pass it on?

For a step `f` under fixed noise, a context `x` and an error `δ`,

    gain(x, δ) = rms(f(x + δ) - f(x)) / rms(δ)                                            (1)

with the root mean square taken over a frame on both sides (`δ`: over the frames of the context).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from recycle_jax.typing import Frames, Rows

Step = Callable[[Frames], Float[Array, "b h w c"]]


def gain(step: Step, base: Frames, moved: Frames, least: float = 1e-5) -> Rows:
    """Returns (1) of `step` between the contexts `base` and `moved`, each `[b, k, h, w, c]`.

    Args:
        step: context -> next frame `[b, h, w, c]`, with its noise key already given, the same for every call.
        base: contexts.
        moved: the same contexts with errors.
        least: rms of an error below which the gain is NaN.
    """
    size = _rms(moved - base)
    response = _rms(step(moved) - step(base))
    return jnp.where(size < least, jnp.nan, response / jnp.maximum(size, least))


def _rms(values: Array) -> Array:
    return jnp.sqrt(jnp.mean(values**2, axis=tuple(range(1, values.ndim))))
