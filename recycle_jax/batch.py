"""A batch of clips, as every room passes it on."""

from flax import struct

from recycle_jax.typing import Frames, PyTree, RowInts


@struct.dataclass
class Batch:
    """One batch of real video.

    Attributes:
        clip: `[b, t, h, w, c]` float32 in [-1, 1], sharded over `b`.
        domain: `[b]` int32, the label of each clip's domain (0 where a source has only one).
        condition: per-row pytree handed to the generator (actions, text), or None.
    """

    clip: Frames
    domain: RowInts
    condition: PyTree = None
