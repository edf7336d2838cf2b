"""What a drift metric is: a streaming fold over the frames of a rollout, on device, in constant memory.

A metric sees the context once and then every generated frame once, in order, inside the carry of a
`jax.lax.scan`; nothing it keeps may grow with the number of frames. `measure` folds recorded frames and
`measure_stream` folds frames that are made as they are measured (a simulator, a generator), so that real
video, controls and rollouts of any length pass through one and the same function.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from recycle_jax.typing import Frames, PyTree


@runtime_checkable
class Metric(Protocol):
    """A streaming measurement; every method is a pure function of its arguments and traceable."""

    def init(self, context: Frames) -> PyTree:
        """Returns the state before the first frame, from the clean context `[b, t, h, w, c]`."""
        ...

    def update(self, state: PyTree, frame: Float[Array, "b h w c"]) -> PyTree:
        """Returns the state after one more frame; same structure, shapes and dtypes as `state`."""
        ...

    def result(self, state: PyTree) -> PyTree:
        """Returns what was measured so far."""
        ...


def measure(metric: Metric, context: Frames, frames: Float[Array, "b n h w c"]) -> PyTree:
    """Folds recorded frames `[b, n, h, w, c]` that follow `context` through `metric`; returns its result."""

    def body(state: PyTree, frame: Array) -> tuple[PyTree, None]:
        return metric.update(state, frame), None

    state, _ = jax.lax.scan(body, metric.init(context), jnp.moveaxis(frames, 1, 0))
    return metric.result(state)


def measure_stream(
    metric: Metric,
    context: Frames,
    step: Callable[[PyTree], tuple[PyTree, Array]],
    carry: PyTree,
    frames: int,
) -> PyTree:
    """Folds `frames` frames, made one at a time by `carry, frame = step(carry)`, through `metric`.

    Args:
        metric: the metric.
        context: clean frames `[b, t, h, w, c]` that come before the first made frame.
        step: makes the next frame `[b, h, w, c]`; traceable.
        carry: the first carry of `step`.
        frames: how many frames to make.

    Returns:
        `metric.result` after the last frame; memory does not depend on `frames`.
    """

    def body(pair: tuple[PyTree, PyTree], _: None) -> tuple[tuple[PyTree, PyTree], None]:
        inner, state = pair
        inner, frame = step(inner)
        return (inner, metric.update(state, frame)), None

    (_, state), _ = jax.lax.scan(body, (carry, metric.init(context)), None, length=frames)
    return metric.result(state)
