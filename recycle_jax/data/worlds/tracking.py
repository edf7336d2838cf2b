"""Reading discs back from frames.

Each pixel is given to the colour `c_i` whose multiple is nearest to its light `l`, with mass

    a_i = clip(l·c_i / |c_i|², 0, 1)                                                        (1)

The disc of a colour is where its mass, blurred to the size of a disc, is greatest; its centre is the
centroid in a square about that place, its radius `sqrt(mass / π)` averaged over the window.

Velocities are hypotheses tested by simulation. Each interval of the window proposes the velocity of its
displacement, simulated on to the last frame through whatever bounces follow. From the positions seen last
and each hypothesis the discs are run *backwards*, which mechanics allows, and each disc takes the
hypothesis that meets its earlier positions best. What the path `s_t`, with velocities `u_t`, still misses
corrects the last velocity, per axis, by least squares over the frames whose speed is that of the last
one: those joined to it by free flight and walls alone, which change signs only,

    δv = Σ_t (t - T) sign(u_t u_T) (p_t - s_t) / Σ_t (t - T)²                               (2)
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from recycle_jax.data.worlds.collisions import fly, settle
from recycle_jax.data.worlds.discs import Discs, coverage
from recycle_jax.typing import Clip, Frame, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tracker:
    """Finds discs of known colours in windows of frames.

    Attributes:
        size: height and width in pixels.
        colours: light of each disc, in [0, 1].
        radius: least and greatest radius, pixels.
        speed: least and greatest speed, pixels per frame; decoded energies are clipped to it.
        gravity: pixels per frame².
        substeps: collision checks a frame.
    """

    size: int
    colours: tuple[tuple[float, float, float], ...]
    radius: tuple[float, float]
    speed: tuple[float, float]
    gravity: float
    substeps: int

    def read(self, frames: Clip) -> tuple[Discs, Scalar]:
        """Reads the discs at the last frame of a `[t, size, size, 3]` window, and the confidence."""
        light = (jnp.clip(jnp.nan_to_num(frames), -1.0, 1.0) + 1.0) / 2.0
        maps = unmix(light, np.array(self.colours, np.float32))
        positions, masses = self._locate(maps)
        radius = jnp.clip(jnp.mean(jnp.sqrt(masses / np.pi), axis=0), *self.radius)
        # The order matters: only positions that the discs can have make sense to the simulation.
        still = Discs(position=positions[-1], velocity=jnp.zeros_like(positions[-1]), radius=radius)
        still = settle(still, self.size)
        velocity, miss = self._velocity(positions, still)
        discs = dataclasses.replace(still, velocity=self._within_energy(velocity, radius))
        explained = self._explained(discs, maps[-1], light[-1])
        return discs, explained / (1.0 + jnp.square(jnp.max(miss)))

    def _locate(self, maps: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Finds one disc in each `[t, n, h, w]` map: centres `[t, n, 2]`, masses `[t, n]`."""
        blur = _blur(self.size, sum(self.radius) / 2.0)
        blurred = jnp.einsum("yh,tnhw,wx->tnyx", blur, maps, blur)
        peak = jnp.argmax(blurred.reshape(*maps.shape[:2], -1), axis=-1).astype(jnp.int32)
        centre = jnp.stack([peak % self.size, peak // self.size], axis=-1).astype(jnp.float32) + 0.5
        mass = jnp.zeros(maps.shape[:2], jnp.float32)
        for _ in range(2):
            centre, mass = _centroid(maps, centre, self.radius[1] + 2.0)
        return centre, mass

    def _velocity(self, positions: jax.Array, still: Discs) -> tuple[jax.Array, jax.Array]:
        """Returns the velocities `[n, 2]` at the last frame, and how far the paths miss, `[n]` rms pixels."""
        hypotheses = self._hypotheses(positions, still)
        last = jnp.broadcast_to(still.position[None], hypotheses.shape)
        path, speeds = jax.vmap(self._backwards, in_axes=(0, 0, None, None))(
            last, hypotheses, still.radius, positions.shape[0] - 1
        )
        misses = positions[::-1][1:, None] - jnp.moveaxis(path, 0, 1)
        errors = jnp.mean(jnp.sum(jnp.square(misses), axis=-1), axis=0)
        best = jnp.argmin(errors, axis=0).astype(jnp.int32)
        discs = jnp.arange(best.shape[0], dtype=jnp.int32)
        correction = self._correction(misses[:, best, discs], speeds[best, :, discs], hypotheses[best, discs])
        return hypotheses[best, discs] + correction, jnp.sqrt(errors[best, discs])

    def _hypotheses(self, positions: jax.Array, still: Discs) -> jax.Array:
        """Returns `[k, n, 2]` velocities that the discs may have at the last frame."""
        steps = jnp.diff(positions, axis=0)
        # A displacement is the mean velocity of its interval; at the end gravity has added half a frame's.
        steps = steps + 0.5 * self._pull()[None]
        flights = jnp.arange(steps.shape[0] - 1, -1, -1, dtype=jnp.int32)
        return jax.vmap(self._onwards, in_axes=(0, 0, None, 0, None))(
            positions[1:], steps, still.radius, flights, steps.shape[0] - 1
        )

    def _onwards(
        self, position: jax.Array, velocity: jax.Array, radius: jax.Array, flights: Scalar, most: int
    ) -> jax.Array:
        """Returns the velocities `[n, 2]` after `flights` frames, at most `most`."""

        def step(index: Scalar, discs: Discs) -> Discs:
            moved = fly(discs, self.size, self.gravity, self.substeps)[0]
            return jax.tree.map(lambda new, old: jnp.where(index < flights, new, old), moved, discs)

        discs = Discs(position=position, velocity=velocity, radius=radius)
        return jax.lax.fori_loop(0, most, step, discs).velocity

    def _backwards(
        self, position: jax.Array, velocity: jax.Array, radius: jax.Array, frames: int
    ) -> tuple[jax.Array, jax.Array]:
        """Returns `[frames, n, 2]` positions and velocities before a state, the latest first."""

        def step(discs: Discs, _: None) -> tuple[Discs, tuple[jax.Array, jax.Array]]:
            discs = fly(discs, self.size, self.gravity, self.substeps)[0]
            return discs, (discs.position, -discs.velocity)

        start = Discs(position=position, velocity=-velocity, radius=radius)
        return jax.lax.scan(step, start, None, length=frames)[1]

    def _correction(self, misses: jax.Array, speeds: jax.Array, last: jax.Array) -> jax.Array:
        """Returns the change `[n, 2]` of the last velocities by equation (2).

        Args:
            misses: `[t, n, 2]` seen minus simulated positions, the latest first.
            speeds: `[n, t, 2]` simulated velocities.
            last: `[n, 2]` velocities at the last frame.
        """
        speeds = jnp.moveaxis(speeds, 0, 1)
        age = jnp.arange(1, misses.shape[0] + 1, dtype=jnp.float32)[:, None, None]
        gap = jnp.abs(jnp.abs(speeds + age * self._pull()[None]) - jnp.abs(last)[None])
        joined = gap < 0.02 * self.speed[1] + 2.0 * age * self._pull()[None]
        weight = jnp.where(jnp.cumprod(joined.astype(jnp.int32), axis=0) > 0, age, 0.0)
        total = jnp.sum(weight * age, axis=0)
        sign = jnp.where(speeds * last[None] < 0.0, -1.0, 1.0)
        change = -jnp.sum(weight * sign * misses, axis=0) / jnp.maximum(total, 1.0)
        return jnp.clip(change, -self.speed[1], self.speed[1])

    def _within_energy(self, velocity: jax.Array, radius: jax.Array) -> jax.Array:
        """Rescales all speeds by one factor, so that their energy is one the world can have."""
        mass = jnp.square(radius)
        kinetic = jnp.sum(mass * jnp.sum(jnp.square(velocity), axis=-1)) / jnp.sum(mass)
        least = self.speed[0] if self.gravity == 0.0 else 0.0
        greatest = np.sqrt(self.speed[1] ** 2 + 2.0 * self.gravity * self.size)
        speed = jnp.sqrt(kinetic)
        return velocity * jnp.clip(speed, least, greatest) / jnp.maximum(speed, 1e-6)

    def _explained(self, discs: Discs, maps: jax.Array, light: Frame) -> Scalar:
        """Returns common over united light, seen and drawn: the least over the discs and the frame."""
        drawn = coverage(discs, self.size)
        picture = jnp.minimum(jnp.einsum("nhw,nc->hwc", drawn, np.array(self.colours, np.float32)), 1.0)
        each = _overlap(drawn, maps, (1, 2))
        return jnp.minimum(jnp.min(each), _overlap(picture, light, (0, 1, 2)))

    def _pull(self) -> jax.Array:
        return jnp.array([[0.0, self.gravity]], jnp.float32)


def unmix(light: jax.Array, colours: np.ndarray) -> jax.Array:
    """Gives each pixel of `[t, h, w, 3]` to one of `[n, 3]` colours: masses `[t, n, h, w]`, equation (1)."""
    power = np.sum(colours**2, axis=-1).astype(np.float32)[None, :, None, None]
    amount = jnp.clip(jnp.einsum("thwc,nc->tnhw", light, colours) / power, 0.0, 1.0)
    # The nearest multiple is the one of greatest length: what is left over is at right angles to it.
    length = amount * np.sqrt(power)
    return jnp.where(length == jnp.max(length, axis=1, keepdims=True), amount, 0.0)


def _centroid(maps: jax.Array, centre: jax.Array, reach: float) -> tuple[jax.Array, jax.Array]:
    places = jnp.arange(maps.shape[-1], dtype=jnp.float32) + 0.5
    window = jnp.clip(reach + 0.5 - jnp.abs(places[None, None, None] - centre[..., None]), 0.0, 1.0)
    across, down = window[..., 0, :], window[..., 1, :]
    columns = jnp.einsum("tnhw,tnh->tnw", maps, down) * across
    rows = jnp.einsum("tnhw,tnw->tnh", maps, across) * down
    mass = jnp.sum(columns, axis=-1)
    moment = jnp.stack([columns @ places, rows @ places], axis=-1)
    # Where there is nothing, the centre stays.
    return (moment + 1e-3 * centre) / (mass + 1e-3)[..., None], mass


def _blur(size: int, width: float) -> np.ndarray:
    offset = np.arange(size)[:, None] - np.arange(size)[None, :]
    return np.exp(-0.5 * (offset / (0.7 * width)) ** 2).astype(np.float32)


def _overlap(first: jax.Array, second: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    union = jnp.sum(jnp.maximum(first, second), axis=axes)
    return jnp.sum(jnp.minimum(first, second), axis=axes) / jnp.maximum(union, 1e-6)
