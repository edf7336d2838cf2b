"""What a rolled-out context should be followed by.

A reference looks at the drifted context, the chunk that the generator makes of it, and the recorded clip at the
same place, and answers with a target, its own version of the context and whether the case is worth keeping:

    recorded    the clip's own next frames. Blames the generator for every displacement.
    registered  the same, moved onto the rollout (`recycle_jax.errors.rollout.registered`): blames it for none.
    continued   a simulator run on from the state decoded from the context; meant as the upper bound, needs a simulator.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.generators.base import mean_square
from recycle_jax.typing import Frames, RowFlags, RowKeys, Rows


@struct.dataclass(kw_only=True)
class ReferenceOutput:
    """A reference's answer for `b` rows.

    Attributes:
        target: `[b, chunk, h, w, c]` what should follow the context.
        clean_context: `[b, context, h, w, c]` what the context should have been.
        accept: `[b]` False where the chain is lost: the case is not banked and the chain starts anew.
        score: `[b]` distance between context and clean context.
        go_on: `[b, context, h, w, c]` the chain's next context, None for its own frames.
    """

    target: Frames
    clean_context: Frames
    accept: RowFlags
    score: Rows
    go_on: Frames | None = None


@runtime_checkable
class Reference(Protocol):
    """See the module docstring.

    Attributes:
        reads_clip: whether `recorded` is used; chains then carry long clips.
    """

    @property
    def reads_clip(self) -> bool: ...

    def __call__(self, context: Frames, chunk: Frames, recorded: Frames, keys: RowKeys) -> ReferenceOutput:
        """`recorded` holds the clip at the places of context and chunk and one frame more, or nothing."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gate:
    """Which cases are worth keeping.

    Attributes:
        distance: largest mean squared distance between context and clean context.
        mass: largest relative change of the summed brightness between context and clean context.
    """

    distance: float = 0.05
    mass: float = 0.2

    def __call__(self, context: Frames, clean_context: Frames) -> tuple[RowFlags, Rows]:
        """Returns `(accept [b], score [b])`."""
        score = mean_square(context - clean_context)
        drawn, kept = brightness(context), brightness(clean_context)
        near = jnp.abs(drawn - kept) <= self.mass * jnp.maximum(kept, 1e-6)
        return (score <= self.distance) & near, score


def displaced(frames: Frames, pixels: float) -> Rows:
    """Mean squared change that so much displacement makes of frames, `d = pixels² (|∂x|² + |∂y|²) / 2`.

    Args:
        frames: `[b, t, h, w, c]`.
        pixels: how far everything moves, in no direction of its own.

    Returns:
        `[b]`, in frame units squared; 0 of frames that are one colour.
    """
    return jnp.square(pixels) * (mean_square(jnp.diff(frames, axis=2)) + mean_square(jnp.diff(frames, axis=3))) / 2.0


def brightness(frames: Frames) -> Rows:
    """Mean of frames moved to [0, 1]: `[b, …]` to `[b]`, the mass of bright things on black."""
    return jnp.mean((frames + 1.0) / 2.0, axis=tuple(range(1, frames.ndim)))


@struct.dataclass(kw_only=True)
class Recorded:
    """The clip's own next frames.

    Attributes:
        gate: which cases are kept (static).
    """

    gate: Gate = struct.field(pytree_node=False, default=Gate())

    @property
    def reads_clip(self) -> bool:
        """Chains must carry the clip's future."""
        return True

    def __call__(self, context: Frames, chunk: Frames, recorded: Frames, keys: RowKeys) -> ReferenceOutput:
        """Compares with the recorded clip."""
        del keys
        n = context.shape[1]
        accept, score = self.gate(context, recorded[:, :n])
        target = recorded[:, n : n + chunk.shape[1]]
        return ReferenceOutput(target=target, clean_context=recorded[:, :n], accept=accept, score=score)


@struct.dataclass(kw_only=True)
class Continued:
    """A simulator run on from the decoded state.

    Attributes:
        decode_and_run: `(context, keys) -> (clean context, next frames [b, chunk, …], confidence [b])`.
        gate: which cases are kept.
        confidence: smallest confidence of the decoder.
    """

    decode_and_run: Callable[[Frames, RowKeys], tuple[Frames, Frames, Array]] = struct.field(pytree_node=False)
    gate: Gate = struct.field(pytree_node=False, default=Gate())
    confidence: float = struct.field(pytree_node=False, default=0.5)

    @property
    def reads_clip(self) -> bool:
        """Needs no recorded future."""
        return False

    def __call__(self, context: Frames, chunk: Frames, recorded: Frames, keys: RowKeys) -> ReferenceOutput:
        """Decodes the context and simulates on."""
        del chunk, recorded
        clean, target, confidence = self.decode_and_run(context, keys)
        accept, score = self.gate(context, clean)
        return ReferenceOutput(
            target=target, clean_context=clean, accept=accept & (confidence >= self.confidence), score=score
        )
