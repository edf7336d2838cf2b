"""What of a generated chunk counts as an error: a map, a score, and whether it is banked.

    error = generated - reference          score = mean(error^2)

A score below the domain's band is the everyday error of a chunk that needs no correction; one above it is a
rollout that is lost, from which no consistent step leads back.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from flax import struct

from recycle_jax.generators.base import mean_square
from recycle_jax.typing import Frames, RowFlags, RowInts, Rows


@struct.dataclass(kw_only=True)
class Detected:
    """What a detector found in `b` rows; sharded over `b`.

    Attributes:
        error: `[b, t, h, w, c]` signed error map, in units of the frames.
        score: `[b]` float32, in units of the frames, squared.
        keep: `[b]` bool, whether the error is worth banking.
    """

    error: Frames
    score: Rows
    keep: RowFlags


@runtime_checkable
class Detector(Protocol):
    """A comparison of what was generated with what it should have been."""

    def __call__(self, generated: Frames, reference: Frames, domain: RowInts) -> Detected:
        """Compares `[b, t, h, w, c]` with `[b, t, h, w, c]`; `domain` `[b]` int32 picks the thresholds."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquaredDetector:
    """The plain difference, kept where its mean square lies in the band of the row's domain.

    Attributes:
        bands: `(least, most)` score of each domain, by label; one band serves all labels from its own on.
    """

    bands: tuple[tuple[float, float], ...] = ((0.0, 0.05),)

    def __post_init__(self) -> None:
        if not self.bands or not all(0.0 <= least < most for least, most in self.bands):
            raise ValueError(f"bands={self.bands}, but each domain needs 0 <= least < most: try ((0.0, 0.05),)")

    def __call__(self, generated: Frames, reference: Frames, domain: RowInts) -> Detected:
        """Compares; see `Detector`."""
        error = generated - reference
        score = mean_square(error)
        band = jnp.asarray(self.bands, score.dtype)[jnp.clip(domain, 0, len(self.bands) - 1)]
        return Detected(error=error, score=score, keep=(score >= band[:, 0]) & (score <= band[:, 1]))
