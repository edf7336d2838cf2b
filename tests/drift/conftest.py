"""The tiny analytic video that the tests of drift are cut from."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax import Array


@dataclasses.dataclass(frozen=True)
class Discs:
    """Two discs sliding sideways, one in each half, so that they decode in closed form.

    Real video with a known projection: `[b, n, size, size, 1]` in [-1, 1].
    """

    size: int = 16
    radius: float = 2.5

    def render(self, x: Array) -> Array:
        """Renders the two positions `[2]` into a frame `[size, size, 1]`."""
        rows, columns = jnp.meshgrid(*[jnp.arange(self.size, dtype=jnp.float32)] * 2, indexing="ij")
        heights = jnp.array([self.size / 4 - 0.5, 3 * self.size / 4 - 0.5])
        gaps = jnp.hypot(rows[None] - heights[:, None, None], columns[None] - x[:, None, None])
        cover = jnp.clip(self.radius + 0.5 - gaps, 0.0, 1.0).max(axis=0)
        return (2.0 * cover - 1.0)[:, :, None]

    def positions(self, key: Array, rows: int, frames: int) -> Array:
        """Bounces between the walls at constant speed: `[rows, frames, 2]`."""
        phase_key, speed_key = jax.random.split(key)
        span = self.size - 1 - 2 * (self.radius + 0.5)
        phase = jax.random.uniform(phase_key, (rows, 1, 2), maxval=2 * span)
        speed = jax.random.uniform(speed_key, (rows, 1, 2), minval=0.7, maxval=1.0)
        travelled = phase + speed * jnp.arange(frames, dtype=jnp.float32)[None, :, None]
        return self.radius + 0.5 + span - jnp.abs(travelled % (2 * span) - span)

    def video(self, key: Array, rows: int, frames: int) -> Array:
        return jax.vmap(jax.vmap(self.render))(self.positions(key, rows, frames))

    def decode(self, frame: Array) -> Array:
        """Centre of mass of each half."""
        mass = jnp.clip((frame[..., 0] + 1.0) / 2.0, 0.0, 1.0).reshape(2, self.size // 2, self.size)
        columns = jnp.arange(self.size, dtype=jnp.float32)
        return (mass * columns[None, None]).sum(axis=(1, 2)) / jnp.maximum(mass.sum(axis=(1, 2)), 1e-3)

    def project(self, window: Array) -> Array:
        return self.render(self.decode(window[-1]))

    def half_pixel(self) -> float:
        """Mean squared difference of a half-pixel shift: the world's tolerance of the distance."""
        x = jnp.array([self.size / 2, self.size / 2])
        return float(jnp.mean((self.render(x) - self.render(x + 0.5)) ** 2))


@pytest.fixture(scope="session")
def discs() -> Discs:
    return Discs()
