"""Discs: the bodies of the balls world, and how much of each pixel they cover.

A disc of radius `ρ` covers a pixel at distance `d` from its centre by

    a = clip(ρ - d + 1/2, 0, 1)                                                             (1)

so that a frame depends smoothly on sub-pixel positions.
"""

import jax
import jax.numpy as jnp
from flax import struct

from recycle_jax.typing import Scalar


@struct.dataclass(kw_only=True)
class Discs:
    """Moving discs.

    Attributes:
        position: `[n, 2]` float32, centres `(x, y)` in pixels from the top left corner.
        velocity: `[n, 2]` float32, pixels per frame.
        radius: `[n]` float32, pixels.
    """

    position: jax.Array
    velocity: jax.Array
    radius: jax.Array


def energy(discs: Discs, gravity: float) -> Scalar:
    """Returns the mechanical energy, in mass × (pixels per frame)²; height is measured upwards."""
    mass = jnp.square(discs.radius)
    kinetic = 0.5 * jnp.sum(mass * jnp.sum(jnp.square(discs.velocity), axis=-1))
    return kinetic - gravity * jnp.sum(mass * discs.position[:, 1])


def coverage(discs: Discs, size: int) -> jax.Array:
    """Returns `[n, size, size]`: which part of each pixel each disc covers (equation 1)."""
    centres = jnp.arange(size, dtype=jnp.float32) + 0.5
    across = jnp.square(centres[None, :] - discs.position[:, 0, None])
    down = jnp.square(centres[None, :] - discs.position[:, 1, None])
    distance = jnp.sqrt(down[:, :, None] + across[:, None, :])
    return jnp.clip(discs.radius[:, None, None] - distance + 0.5, 0.0, 1.0)
