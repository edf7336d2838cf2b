"""Keyframes first, then the frames between them: fewer steps of the kind that drifts.

With stride s one step makes s frames. The key generator, trained on every s-th frame, makes the frame s ahead; the
in-between generator sees the newest m frames *and* that keyframe, and makes the s - 1 frames from the one to the
other:

    x[t+s]         = key(x[t], x[t-s], ..., x[t-(n-1)s])                                  (1)
    x[t+1..t+s-1]  = between(x[t-m+1], ..., x[t], x[t+s])                                 (2)

So errors add up over 1/s as many steps, in (1), while (2) starts from both its ends and hands nothing on but the
frames that it is given again. Keyframes depend on keyframes only, whatever happens between them. The price is that
nothing can be steered inside a chunk. Planning an end point first is FramePack's way as well (arXiv 2504.12626).

Both are trained by their own losses on the same example; what (2) is told of x[t+s] is then the true one.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax import rng
from recycle_jax.generators.base import Example, Fit, Generator, Levels, anchors_of, slide
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys, Sigma


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hierarchical:
    """A generator of `stride` frames a step; parameters are `{"key": ..., "between": ...}`.

    Attributes:
        key: makes the next keyframe from the last keyframes; its chunk is one frame.
        between: makes the frames between; its context is history and the keyframe after them, its chunk
            `stride - 1` frames.
        stride: frames from one keyframe to the next.
    """

    key: Generator
    between: Generator
    stride: int

    def __post_init__(self) -> None:
        if self.stride < 2:
            raise ValueError(f"stride is {self.stride}, must be at least 2: without frames between, use key alone")
        if self.key.chunk_frames != 1:
            raise ValueError(f"key makes {self.key.chunk_frames} frames a step, must make 1: set its chunk_frames to 1")
        if self.between.chunk_frames != self.stride - 1:
            raise ValueError(
                f"between makes {self.between.chunk_frames} frames, but {self.stride - 1} lie between keyframes "
                f"{self.stride} apart: set its chunk_frames to {self.stride - 1}"
            )
        if anchors_of(self.key) or anchors_of(self.between):
            raise ValueError("key or between keeps anchors, which would slide away: put Anchored around Hierarchical")
        if self.between.context_frames < 2:
            raise ValueError(
                f"between has context_frames={self.between.context_frames}, needs 2 or more: both ends are given"
            )

    @property
    def context_frames(self) -> int:
        """Enough for the keyframes of (1) and the history of (2)."""
        return max((self.key.context_frames - 1) * self.stride + 1, self.between.context_frames - 1)

    @property
    def chunk_frames(self) -> int:
        """A keyframe and those before it."""
        return self.stride

    @property
    def calls_per_step(self) -> int:
        """In calls of `fit`, each of which runs both networks: exact where both make as many, else an upper bound."""
        return max(self.key.calls_per_step, self.between.calls_per_step)

    def init(self, key: PRNGKey) -> Params:
        """Fresh parameters of both."""
        of_key, of_between = jax.random.split(key)
        return {"key": self.key.init(of_key), "between": self.between.init(of_between)}

    def corruption(self, keys: RowKeys, chunk: Frames) -> Levels:
        """Each generator's own, of its own frames."""
        of_key, of_between = rng.split_rows(keys, 2)
        key, between = self.key.corruption(of_key, chunk[:, -1:]), self.between.corruption(of_between, chunk[:, :-1])
        return Levels(sigma=_joined(between.sigma, key.sigma), noise=_joined(between.noise, key.noise))

    def fit(self, params: Params, example: Example) -> Fit:
        """The sum of both losses."""
        context, level, per_frame = example.context, example.level, example.level.ndim == 2
        ends = _joined(self._history(context), example.x0[:, -1:])
        # The keyframe that `between` is given has no noise on it.
        told = _joined(self._history(level), jnp.zeros_like(level[:, :1])) if per_frame else level
        between = self.between.fit(params["between"], _part(example, slice(None, -1), context=ends, level=told))
        level = self._keyframes(level) if per_frame else level
        newest = _part(example, slice(-1, None), context=self._keyframes(context), level=level)
        key = self.key.fit(params["key"], newest)
        return Fit(
            loss=key.loss + between.loss,
            prediction=_joined(between.prediction, key.prediction),
            residual=_joined(between.residual, key.residual),
        )

    def to_error(self, residual: Frames, sigma: Sigma) -> Frames:
        """Each generator's own, of its own frames."""
        between = self.between.to_error(residual[:, :-1], sigma[:, :-1])
        return _joined(between, self.key.to_error(residual[:, -1:], sigma[:, -1:]))

    def begin(self, params: Params, context: Frames, condition: PyTree) -> Frames:
        """The carry is the context itself.

        Raises:
            ValueError: if the context is too short: its first keyframe would silently be another one.
        """
        del params, condition
        if context.shape[1] != self.context_frames:
            raise ValueError(
                f"a context of {context.shape[1]} frames was given, but keyframes {self.stride} apart need "
                f"{self.context_frames}: start on clips of {self.context_frames} frames or more"
            )
        return context

    def step(self, params: Params, carry: Frames, keys: RowKeys, condition: PyTree) -> tuple[Frames, Frames]:
        """The keyframe by (1), then the frames before it by (2)."""
        of_key, of_between = rng.split_rows(keys, 2)
        keyframe = _only_chunk(self.key, params["key"], self._keyframes(carry), of_key, condition)
        ends = _joined(self._history(carry), keyframe)
        between = _only_chunk(self.between, params["between"], ends, of_between, condition)
        chunk = _joined(between, keyframe)
        return slide(carry, chunk), chunk

    def _keyframes(self, context: Array) -> Array:
        """The newest frame, or its level, and those `stride` apart before it, oldest first."""
        first = context.shape[1] - 1 - (self.key.context_frames - 1) * self.stride
        return context[:, first :: self.stride]

    def _history(self, context: Array) -> Array:
        """What `between` sees of the past: all of its context but the keyframe at its end."""
        return context[:, context.shape[1] + 1 - self.between.context_frames :]


def _joined(first: Array, then: Array) -> Array:
    return jnp.concatenate([first, then], axis=1)


def _part(example: Example, frames: slice, **seen: Any) -> Example:
    """The example of some frames of the chunk, from what is `seen` of the context."""
    names = ("x0", "x_injected", "noise_injected", "sigma")
    changes: dict[str, Any] = {name: getattr(example, name)[:, frames] for name in names}
    return dataclasses.replace(example, **seen, **changes)


def _only_chunk(generator: Generator, params: Params, context: Frames, keys: RowKeys, condition: PyTree) -> Frames:
    """One step from a context, whose carry is not needed."""
    return generator.step(params, generator.begin(params, context, condition), keys, condition)[1]
