"""Batches on the devices: every host makes the rows that its own devices hold, and no others."""

from jax.sharding import Mesh

from recycle_jax.batch import Batch
from recycle_jax.data.base import ClipSource, rows_of
from recycle_jax.sharding import local_rows, place_local


def placed_batch(source: ClipSource, step: int, rows: int, frames: int, mesh: Mesh) -> Batch:
    """Batch `step` of `rows` clips on all hosts together, split over the devices by rows.

    Raises:
        ValueError: if the rows cannot be split over the devices.
    """
    part = rows_of(source, step, rows, frames, local_rows(mesh, rows))
    placed: Batch = place_local(part, mesh, rows)
    return placed
