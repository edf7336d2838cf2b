"""Which slot of the bank an error belongs to: by noise level or by age.

Noise level `σ` and network time `t = 1000 σ`, with the schedule shift

    σ'(σ) = s σ / (1 + (s - 1) σ)                                                               (1)

A map of noise levels has one slot for each timestep `t_n = 1000 σ'(1 - n / N)` of the `N`-step inference
schedule, and

    slot(σ) = argmin_n | t_n - 1000 σ |                                                         (2)

as in Stable Video Infinity (50 steps, shift 5; `_get_timestep_grid` of its training script). Slot 0 is pure
noise. Training draws timesteps finer than that, so every slot stands for a band of levels.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool

from recycle_jax.flow_matching import TIME_SCALE, shift_sigma
from recycle_jax.typing import RowInts, Rows

SlotMask = Bool[Array, " slots"]


@runtime_checkable
class SlotMap(Protocol):
    """A map from the tags of an error to its slot; a frozen value."""

    @property
    def slots(self) -> int:
        """The number of slots."""
        ...

    def __call__(self, sigma: Rows, age: RowInts) -> RowInts:
        """Slots `[b]` int32 of errors made at noise levels `[b]` in [0, 1] and ages `[b]` of 1 and up."""
        ...

    def allowed(self, min_age: Array | int, max_age: Array | int) -> SlotMask:
        """`[slots]` bool: the slots that hold errors of ages `min_age` to `max_age`, both included."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneSlot:
    """Everything in one slot: the map of a deterministic predictor."""

    @property
    def slots(self) -> int:
        return 1

    def __call__(self, sigma: Rows, age: RowInts) -> RowInts:
        return jnp.zeros(age.shape, jnp.int32)

    def allowed(self, min_age: Array | int, max_age: Array | int) -> SlotMask:
        return jnp.ones((1,), bool)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseSlots:
    """One slot for each step of the inference schedule (2).

    Attributes:
        steps: steps of the schedule, and slots.
        shift: the schedule shift `s` (1), the one that the generator samples with.
    """

    steps: int = 50
    shift: float = 5.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}, but a schedule has at least 1 step: raise steps")
        if not self.shift > 0:
            raise ValueError(f"shift={self.shift}, but a shift is above 0 (1 is none): raise shift")

    @property
    def slots(self) -> int:
        return self.steps

    def times(self) -> Array:
        """`[slots]` float32: the schedule's timesteps in network time, falling from 1000."""
        even = jnp.asarray(1.0 - np.arange(self.steps) / self.steps, jnp.float32)
        return TIME_SCALE * shift_sigma(even, self.shift)

    def __call__(self, sigma: Rows, age: RowInts) -> RowInts:
        distance = jnp.abs(self.times()[None] - TIME_SCALE * sigma.astype(jnp.float32)[:, None])
        return jnp.argmin(distance, axis=1).astype(jnp.int32)

    def allowed(self, min_age: Array | int, max_age: Array | int) -> SlotMask:
        return jnp.ones((self.slots,), bool)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgeSlots:
    """One slot for each window of ages.

    Attributes:
        starts: the first age of each window, rising from 1; a window ends before the next, and the last is
            open.
    """

    starts: tuple[int, ...] = (1, 5, 9, 17, 33)

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.starts, self.starts[1:], strict=False))
        if not self.starts or self.starts[0] != 1 or not rising:
            raise ValueError(f"starts={self.starts}, but windows of age start at 1 and rise: try (1, 5, 9)")

    @classmethod
    def even(cls, *, width: int, windows: int) -> "AgeSlots":
        """Windows of equal width: ages 1 to `width`, `width + 1` to `2 width`, and so on."""
        return cls(starts=tuple(1 + width * window for window in range(windows)))

    @property
    def slots(self) -> int:
        return len(self.starts)

    def __call__(self, sigma: Rows, age: RowInts) -> RowInts:
        begun = age[:, None] >= jnp.asarray(self.starts, jnp.int32)[None]
        return jnp.maximum(jnp.sum(begun, axis=1, dtype=jnp.int32) - 1, 0)

    def allowed(self, min_age: Array | int, max_age: Array | int) -> SlotMask:
        last = np.asarray((*self.starts[1:], 2**31 - 1)) - 1
        return (jnp.asarray(self.starts, jnp.int32) <= max_age) & (jnp.asarray(last, jnp.int32) >= min_age)
