"""A batch of clips, as every room passes it on, and the condition that comes with it."""

import jax
from flax import struct
from jax import Array

from recycle_jax.typing import Frames, PyTree, RowInts


@struct.dataclass(kw_only=True)
class Condition:
    """What a generator is told besides its history, cut along time together with the clip.

    Any other pytree of leaves `[b, ...]` is a condition too: it holds for a whole clip.

    Attributes:
        static: leaves `[b, ...]` that hold for a whole clip: a text or image embedding, a class.
        per_frame: leaves `[b, t, ...]`, one value for each frame of the clip: actions, camera poses, audio. The value
            at frame `t` is what the generator is given when it makes frame `t`.
    """

    static: PyTree = None
    per_frame: PyTree = None


@struct.dataclass
class Batch:
    """One batch of real video.

    Attributes:
        clip: `[b, t, h, w, c]` float32 in [-1, 1], sharded over `b`.
        domain: `[b]` int32, the label of each clip's domain (0 where a source has only one).
        condition: a `Condition`, or a per-row pytree, or None.
    """

    clip: Frames
    domain: RowInts
    condition: PyTree = None


def condition_for(condition: PyTree, first: int | Array, count: int) -> PyTree:
    """The condition of `count` frames from frame `first` on; one that holds for a whole clip stays as it is.

    Args:
        condition: of a clip.
        first: number of the first frame, a number or `[b]` int32, one for each row.
        count: frames.
    """
    if not isinstance(condition, Condition) or condition.per_frame is None:
        return condition

    def row(leaf: Array, start: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(leaf, start, count, axis=0)

    def cut(leaf: Array) -> Array:
        if isinstance(first, Array) and first.ndim:
            return jax.vmap(row)(leaf, first)
        return jax.lax.dynamic_slice_in_dim(leaf, first, count, axis=1)

    return Condition(static=condition.static, per_frame=jax.tree.map(cut, condition.per_frame))


def frames_of(condition: PyTree) -> int | None:
    """Frames that a condition is given for; None where it holds for any number."""
    if not isinstance(condition, Condition):
        return None
    lengths = {leaf.shape[1] for leaf in jax.tree.leaves(condition.per_frame)}
    if len(lengths) > 1:
        raise ValueError(f"per-frame conditions are given for {sorted(lengths)} frames: give all for as many")
    return lengths.pop() if lengths else None
