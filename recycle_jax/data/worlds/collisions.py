"""Elastic discs in a square box.

Discs have position `p` and radius `ρ` in pixels, velocity `v` in pixels per frame, and mass `m = ρ²`; the
box is `[0, size]²`, and `y` and gravity point down. A wall mirrors the centre and the velocity. Two discs
with unit normal `n` from i to j, overlap `o = ρ_i + ρ_j - |p_j - p_i|` and closing speed `c = (v_i -
v_j)·n` exchange

    J = 2 c m_i m_j / (m_i + m_j)        v_i -= J n / m_i       v_j += J n / m_j               (1)

along the normal, which keeps momentum and energy, and part by `2 o`, so that the gap after the bounce is
the overlap that flight alone would have made. Pairs are taken one after another, so that (1) stays exact
when three discs meet. Parting changes heights: with gravity, speeds are rescaled to the energy at the
start of the frame.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp

from recycle_jax.data.worlds.discs import Discs, energy
from recycle_jax.typing import Scalar

_SWEEPS = 4


def fly(discs: Discs, size: int, gravity: float, substeps: int) -> tuple[Discs, Scalar, Scalar]:
    """Moves the discs by one frame.

    Returns:
        The discs; the sum of the impulses exchanged, in mass × pixels per frame; and when, as the
        impulse-weighted mean in frames since the last frame (0 where nothing was hit).
    """

    def substep(index: Scalar, carry: tuple[Discs, Scalar, Scalar]) -> tuple[Discs, Scalar, Scalar]:
        discs, total, moment = carry
        discs, impulse = _bounce(_fall(discs, gravity, 1.0 / substeps), size)
        time = (index.astype(jnp.float32) + 0.5) / substeps
        return discs, total + impulse, moment + impulse * time

    start = (discs, jnp.float32(0.0), jnp.float32(0.0))
    moved, total, moment = jax.lax.fori_loop(0, substeps, substep, start)
    moved = with_energy(settle(moved, size), energy(discs, gravity), gravity)
    return moved, total, moment / jnp.maximum(total, 1e-6)


def settle(discs: Discs, size: int) -> Discs:
    """Moves overlapping discs apart and all discs into the box; velocities stay."""
    low = discs.radius[:, None]

    def sweep(_: Scalar, discs: Discs) -> Discs:
        return dataclasses.replace(discs, position=jnp.clip(_part(discs).position, low, size - low))

    sweeps = _SWEEPS if discs.radius.shape[0] > 1 else 1
    return jax.lax.fori_loop(0, sweeps, sweep, discs)


def with_energy(discs: Discs, target: Scalar, gravity: float) -> Discs:
    """Rescales all speeds by one factor, so that the energy is `target` where that can be reached."""
    rest = energy(dataclasses.replace(discs, velocity=jnp.zeros_like(discs.velocity)), gravity)
    kinetic = energy(discs, gravity) - rest
    factor = jnp.sqrt(jnp.maximum(target - rest, 0.0) / jnp.maximum(kinetic, 1e-12))
    return dataclasses.replace(discs, velocity=discs.velocity * factor)


def _fall(discs: Discs, gravity: float, time: float) -> Discs:
    pull = jnp.array([0.0, gravity], jnp.float32)[None]
    position = discs.position + time * discs.velocity + 0.5 * time**2 * pull
    return dataclasses.replace(discs, position=position, velocity=discs.velocity + time * pull)


def _bounce(discs: Discs, size: int) -> tuple[Discs, Scalar]:
    discs, walls = _bounce_walls(discs, size)
    discs, pairs = _bounce_pairs(discs)
    return discs, walls + pairs


def _bounce_walls(discs: Discs, size: int) -> tuple[Discs, Scalar]:
    low = discs.radius[:, None]
    high = size - low
    position, speed = discs.position, jnp.abs(discs.velocity)
    mirrored = jnp.where(position < low, 2.0 * low - position, position)
    mirrored = jnp.where(position > high, 2.0 * high - position, mirrored)
    velocity = jnp.where(position < low, speed, discs.velocity)
    velocity = jnp.where(position > high, -speed, velocity)
    impulse = jnp.sum(jnp.square(low) * jnp.abs(velocity - discs.velocity))
    return dataclasses.replace(discs, position=jnp.clip(mirrored, low, high), velocity=velocity), impulse


def _bounce_pairs(discs: Discs) -> tuple[Discs, Scalar]:
    # Rows in Python lists: scatters into an array would keep the compiler from fusing the loop.
    position, velocity = list(discs.position), list(discs.velocity)
    mass, total = jnp.square(discs.radius), jnp.float32(0.0)
    for i, j in itertools.combinations(range(len(position)), 2):
        normal, overlap = _contact(position[i], position[j], discs.radius[i] + discs.radius[j])
        closing = jnp.sum((velocity[i] - velocity[j]) * normal)
        hit = (overlap > 0.0) & (closing > 0.0)
        share = mass[j] / (mass[i] + mass[j])
        change = jnp.where(hit, 2.0 * closing, 0.0) * normal
        parting = jnp.where(hit, 2.0, 1.0) * jnp.maximum(overlap, 0.0) * normal
        velocity[i], velocity[j] = velocity[i] - share * change, velocity[j] + (1.0 - share) * change
        position[i], position[j] = position[i] - share * parting, position[j] + (1.0 - share) * parting
        total = total + jnp.where(hit, 2.0 * mass[i] * share * closing, 0.0)
    return dataclasses.replace(discs, position=jnp.stack(position), velocity=jnp.stack(velocity)), total


def _part(discs: Discs) -> Discs:
    position, mass = list(discs.position), jnp.square(discs.radius)
    for i, j in itertools.combinations(range(len(position)), 2):
        normal, overlap = _contact(position[i], position[j], discs.radius[i] + discs.radius[j])
        share = mass[j] / (mass[i] + mass[j])
        parting = jnp.maximum(overlap, 0.0) * normal
        position[i], position[j] = position[i] - share * parting, position[j] + (1.0 - share) * parting
    return dataclasses.replace(discs, position=jnp.stack(position))


def _contact(first: jax.Array, second: jax.Array, reach: Scalar) -> tuple[jax.Array, Scalar]:
    offset = second - first
    distance = jnp.sqrt(jnp.sum(jnp.square(offset)))
    apart = distance > 1e-4
    # Discs on one another have no normal: part them sideways.
    normal = jnp.where(apart, offset / jnp.where(apart, distance, 1.0), jnp.array([1.0, 0.0], jnp.float32))
    return normal, reach - distance
