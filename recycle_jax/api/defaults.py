"""What `train` and `recycle` choose where they are not told: learning rates, ages, sources."""

import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from recycle_jax.data.arrays import from_arrays
from recycle_jax.data.base import ClipSource
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Reference
from recycle_jax.generators.base import Generator
from recycle_jax.histories.recipe import Recycling
from recycle_jax.models.base import parameter_count
from recycle_jax.typing import Params

SMALL = 1_000_000
"""Parameters up to which a network learns anew at the recipe's rate within some hundred updates."""

FRESH_RATE, SHARE_OF_LARGE = 8e-3, 0.1
"""The recipe's learning rate, found with networks below `SMALL`; the share of it that a large trained network takes."""


def learning_rate(params: Params, *, trained: bool) -> float:
    """The peak learning rate for a network: `8e-3` up to a million parameters, less for larger ones.

    The rate falls with the square root of the number of parameters. A large network that is trained already takes a
    tenth of that: what it has learned would be lost at the rate of a fresh one. A small one relearns within some
    hundred updates.

    Args:
        params: of the network, or their shapes.
        trained: whether they come from a finished training.
    """
    size = parameter_count(params)
    fresh = FRESH_RATE * min(1.0, math.sqrt(SMALL / max(size, 1)))
    return fresh * SHARE_OF_LARGE if trained and size > SMALL else fresh


def as_source(clips: ClipSource | Sequence[np.ndarray]) -> ClipSource:
    """A source as it is; a list of arrays `[t, h, w, c]` as a source.

    Raises:
        TypeError: for anything else, with the functions that make a source.
    """
    if isinstance(clips, ClipSource):
        return clips
    if isinstance(clips, Sequence) and not isinstance(clips, str) and all(hasattr(clip, "shape") for clip in clips):
        return from_arrays(clips)
    raise TypeError(
        f"clips is a {type(clips).__name__}: give a list of arrays [t, h, w, c], or a source made by "
        "rj.data.load_folder, rj.data.load_tfds or rj.data.from_arrays"
    )


def fitting(recycling: Recycling, generator: Generator, reference: Reference, source: ClipSource) -> Recycling:
    """The settings with `max_age` lowered to what the longest clip allows.

    Raises:
        ValueError: if the clips are too short for rollouts of a single step.
    """
    longest = max_frames(source)
    if longest is None:
        return recycling
    for age in range(recycling.max_age, 0, -1):
        if Harvest(generator=generator, max_age=age).clip_frames(reference) <= longest:
            return _of_age(recycling, age, longest)
    raise ValueError(
        f"the longest clip has {longest} frames, but a rollout of one step and its reference need "
        f"{Harvest(generator=generator, max_age=1).clip_frames(reference)}: bring longer clips, or lower their stride"
    )


def _of_age(recycling: Recycling, age: int, longest: int) -> Recycling:
    if age == recycling.max_age:
        return recycling
    print(
        f"recycle: max_age lowered from {recycling.max_age} to {age}, since the longest clip has {longest} frames",
        file=sys.stderr,
    )
    return dataclasses.replace(recycling, max_age=age)


def max_frames(source: ClipSource) -> int | None:
    """Frames of the longest window that a source has; None where it has no end or does not say."""
    lengths: Any = getattr(source, "lengths", None)
    if lengths is None:
        return None
    return (int(np.max(lengths)) - 1) // int(getattr(source, "stride", 1)) + 1
