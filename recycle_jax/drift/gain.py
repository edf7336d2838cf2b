"""One-step response to an error: does the generator damp it or pass it on?

For a step `f` under fixed noise, a context `x` and an error `δ`,

    gain(x, δ) = rms(f(x + δ) - f(x)) / rms(δ)                                            (1)

with the root mean square taken over a frame on both sides (`δ`: over the frames of the context). An error of
a rollout has two parts. Let `y` be the erroneous context and `p` its projection, frame by frame, onto valid
video:

    δ_off = y - p     makes the context invalid; base point p; goal below 1, errors die out     (2)
    δ_on  = p - x     makes it another valid context; base point x; goal the simulator's own gain   (3)

A projection sees `k` frames and gives the newest, so a projected context of `k` frames takes `2k - 1` frames.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float

from recycle_jax.typing import Clip, Frame, Frames, PyTree, Rows

Step = Callable[[Frames], Float[Array, "b h w c"]]


@struct.dataclass(kw_only=True)
class Gains:
    """Gains of `b` contexts; NaN where the part of the error is too small to divide by.

    Attributes:
        total: `[b]` float32, (1) with the whole error.
        off_manifold: `[b]` float32, (2).
        on_manifold: `[b]` float32, (3).
        simulator: `[b]` float32, (3) of the true simulator, or None where there is none.
        off_error: `[b]` float32, rms of the off-manifold part, in frame units.
        on_error: `[b]` float32, rms of the on-manifold part, in frame units.
    """

    total: PyTree
    off_manifold: PyTree
    on_manifold: PyTree
    simulator: PyTree
    off_error: PyTree
    on_error: PyTree


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


def gains(
    step: Step,
    project: Callable[[Clip], Frame],
    clean: Frames,
    erroneous: Frames,
    simulate: Step | None = None,
) -> Gains:
    """Splits the errors of contexts into their parts and returns the gain of each.

    Args:
        step: the generator's step, context `[b, k, h, w, c]` -> next frame, with its noise key already given.
        project: nearest valid newest frame of a window `[k, h, w, c]`, unbatched.
        clean: `[b, 2k - 1, h, w, c]` valid frames.
        erroneous: the same frames with errors.
        simulate: the true simulator's step, continuing from the state that a valid context shows.

    Raises:
        ValueError: if the number of frames is even.
    """
    length = clean.shape[1]
    if length % 2 == 0:
        raise ValueError(f"clips of {length} frames: a projected context of k frames takes 2k - 1, give an odd number")
    k = (length + 1) // 2
    windows = jnp.stack([erroneous[:, i : i + k] for i in range(k)], axis=1)
    projected = jax.vmap(jax.vmap(project))(windows)
    truth, drifted = clean[:, -k:], erroneous[:, -k:]
    return Gains(
        total=gain(step, truth, drifted),
        off_manifold=gain(step, projected, drifted),
        on_manifold=gain(step, truth, projected),
        simulator=None if simulate is None else gain(simulate, truth, projected),
        off_error=_rms(drifted - projected),
        on_error=_rms(projected - truth),
    )


def _rms(values: Array) -> Array:
    return jnp.sqrt(jnp.mean(values**2, axis=tuple(range(1, values.ndim))))
