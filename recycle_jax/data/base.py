"""What a source of video offers: batches of clips, addressed by step, so that a resumed run sees the same data.

A source is a frozen value with a seed. ``batch(step, rows, frames)`` is a pure function of its arguments:
there is no iterator state to save, and row ``i`` of a batch does not depend on how many devices read it.
"""

from typing import Protocol, runtime_checkable

from recycle_jax.batch import Batch


@runtime_checkable
class ClipSource(Protocol):
    """A source of training batches.

    Attributes:
        shape: `(height, width, channels)` of a frame.
        domains: names of the domain labels, in label order.
        deterministic: whether the next frame follows from the context alone.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def domains(self) -> tuple[str, ...]: ...

    @property
    def deterministic(self) -> bool: ...

    def batch(self, step: int, rows: int, frames: int) -> Batch:
        """Returns `rows` clips of `frames` frames; the same for the same `step`.

        Raises:
            ValueError: if no clip of the source is as long as `frames`.
        """
        ...
