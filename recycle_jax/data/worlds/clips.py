"""Training batches of a simulated world.

Row `i` of batch `n` is drawn from the key `fold(fold(seed, n), i)`: it depends neither on how many rows are
asked for nor on how many devices make them.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np

from recycle_jax.batch import Batch
from recycle_jax.data.worlds.base import World, simulate
from recycle_jax.typing import Clip, PRNGKey, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldClips:
    """A `ClipSource` that simulates its clips on the device.

    Attributes:
        world: the world; hashable, as frozen dataclasses of hashable fields are.
        seed: which clips, from 0 to 2³² - 1; sources of different seeds share none.
        sharding: where a batch goes (its first axis is the row), or None for the default device.
    """

    world: World
    seed: int = 0
    sharding: jax.sharding.Sharding | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed={self.seed} must be from 0 to 2**32 - 1: take it modulo 2**32.")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.world.shape

    @property
    def domains(self) -> tuple[str, ...]:
        return self.world.domains

    @property
    def deterministic(self) -> bool:
        return self.world.deterministic

    def batch(self, step: int, rows: int, frames: int, first: int = 0) -> Batch:
        """Returns `rows` clips of `frames` frames from row `first` on; the same for the same `step`.

        Raises:
            ValueError: if `rows` or `frames` is below 1, or `first` below 0.
        """
        if rows < 1 or frames < 1 or first < 0:
            raise ValueError(
                f"A batch of {rows} rows of {frames} frames from row {first} was asked for; rows and frames must be at "
                "least 1, the first row at least 0. "
                "Pass positive numbers: a simulated clip can have any length."
            )
        program = _program(self.world, rows, frames, self.sharding)
        return program(np.uint32(self.seed), np.uint32(step), np.uint32(first))


def sample_clip(world: World, key: PRNGKey, frames: int) -> tuple[Clip, Scalar]:
    """Returns a random clip `[frames, h, w, c]` and the domain label of its first state."""
    begin, run = jax.random.split(key)
    state = world.initial(begin)
    return simulate(world, state, run, frames)[1], world.domain(state)


@functools.lru_cache(maxsize=64)
def _program(
    world: World, rows: int, frames: int, sharding: jax.sharding.Sharding | None
) -> Callable[[np.uint32, np.uint32, np.uint32], Batch]:
    def batch(seed: Scalar, step: Scalar, first: Scalar) -> Batch:
        key = jax.random.fold_in(jax.random.key(seed), step)
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, first + np.arange(rows, dtype=np.uint32))
        clip, domain = jax.vmap(lambda key: sample_clip(world, key, frames))(keys)
        return Batch(clip=clip, domain=domain)

    return jax.jit(batch, out_shardings=sharding)
