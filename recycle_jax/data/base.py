"""What a source of video offers: batches of clips, addressed by step, so that a resumed run sees the same data.

A source is a frozen value with a seed. ``batch(step, rows, frames)`` is a pure function of its arguments:
there is no iterator state to save, and row ``i`` of a batch does not depend on how many devices read it.

A source whose ``batch`` also takes ``first`` can make a part of a batch: rows ``first`` to ``first + rows``, each as it
is in the whole one. With several hosts each then makes only its own rows (`rows_of`); without ``first`` every host
makes them all.
"""

import inspect
from typing import Protocol, runtime_checkable

import jax

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


def rows_of(source: ClipSource, step: int, rows: int, frames: int, wanted: range) -> Batch:
    """The rows `wanted` of batch `step`, which has `rows` rows on all hosts together.

    Args:
        source: which need not know of parts.
        step: number of the batch.
        rows: of the whole batch.
        frames: of a clip.
        wanted: consecutive row numbers.
    """
    if len(wanted) == rows:
        return source.batch(step, rows, frames)
    if "first" in inspect.signature(source.batch).parameters:
        return source.batch(step, len(wanted), frames, first=wanted.start)  # type: ignore[call-arg]
    whole = source.batch(step, rows, frames)
    part: Batch = jax.tree.map(lambda leaf: leaf[wanted.start : wanted.stop], whole)
    return part
