"""Endless rollouts in constant memory: frames are seen by streaming metrics and forgotten.

The metric is anything with `init(context)`, `update(state, frame)` and `result(state)` on device, as
`recycle_jax.drift.base.Metric` describes.
"""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax.generators.base import Generator
from recycle_jax.rollout.scan import rollout_keys, steps_of
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree


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
    """
    steps = steps_of(generator, frames)
    rows = context.shape[0]

    def body(carry: PyTree, i: Array) -> tuple[PyTree, None]:
        history, seen = carry
        history, chunk = generator.step(params, history, rollout_keys(key, i, rows), condition)
        for t in range(generator.chunk_frames):
            seen = metric.update(seen, chunk[:, t])
        return (history, seen), None

    history = context[:, -generator.context_frames :]
    start = (generator.begin(params, history, condition), metric.init(context))
    (_, seen), _ = jax.lax.scan(body, start, jnp.arange(steps, dtype=jnp.int32))
    return metric.result(seen)
