"""Endless rollouts in constant memory: frames are seen by streaming metrics and forgotten.

The metric is anything with `init(context)`, `update(state, frame)` and `result(state)` on device, as
`recycle_jax.drift.base.Metric` describes.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from recycle_jax.generators.base import Generator, require_same_frames
from recycle_jax.rollout.scan import checked_context, kept, rollout_keys, steps_of
from recycle_jax.sharding import split_over_devices
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, Scalar


class StreamingMetric(Protocol):
    """What a stream needs of a metric."""

    def init(self, context: Frames) -> Any: ...

    def update(self, state: Any, frame: Array) -> Any: ...

    def result(self, state: Any) -> Any: ...


def stream(
    generator: Generator,
    params: Params,
    context: Frames,
    key: PRNGKey,
    frames: int,
    metric: StreamingMetric,
    condition: PyTree = None,
    *,
    mesh: Mesh | None = None,
) -> Any:
    """Rolls out `frames` frames and returns `metric.result`; memory does not grow with `frames`.

    Args:
        generator: who generates.
        params: its parameters.
        context: `[b, k, h, w, c]` real history with which the metric starts, at least `context_frames` frames; the
            generator sees the last of them.
        key: one key; rows and steps are folded in, as in `scan.rollout`.
        frames: how many, a multiple of `chunk_frames`.
        metric: what looks at every frame.
        condition: per-row pytree for the network, or None.
        mesh: the devices that share the rows, any number of them; every result of the metric then needs an axis of
            rows. None rolls out where the arguments lie, also inside of compiled programs.

    Raises:
        ValueError: as `scan.rollout`.
    """
    steps = steps_of(generator, frames)
    checked_context(generator, context)
    rows = (context, condition)
    if mesh is None:
        return kept(_compiled, generator, steps, metric)(params, rows, key, 0)
    return kept(_split, generator, steps, metric, mesh)(params, rows, key)


def _streamed(generator: Generator, steps: int, metric: StreamingMetric) -> Callable[..., Any]:
    """`(params, (context, condition), key, first) -> result`, of a part of the rows or all of them."""

    def streamed(params: Params, rows: tuple[Frames, PyTree], key: PRNGKey, first: Scalar) -> Any:
        context, condition = rows
        history = context[:, -generator.context_frames :]

        def body(carry: PyTree, i: Array) -> tuple[PyTree, None]:
            carry, seen = carry
            keys = rollout_keys(key, i, history.shape[0], first)
            carry, chunk = generator.step(params, carry, keys, condition)
            require_same_frames(history, chunk)
            for t in range(generator.chunk_frames):
                seen = metric.update(seen, chunk[:, t])
            return (carry, seen), None

        start = (generator.begin(params, history, condition), metric.init(context))
        (_, seen), _ = jax.lax.scan(body, start, jnp.arange(steps, dtype=jnp.int32))
        return metric.result(seen)

    return streamed


def _compiled(generator: Generator, steps: int, metric: StreamingMetric) -> Callable[..., Any]:
    return jax.jit(_streamed(generator, steps, metric))


def _split(generator: Generator, steps: int, metric: StreamingMetric, mesh: Mesh) -> Callable[..., Any]:
    return split_over_devices(_streamed(generator, steps, metric), mesh)
