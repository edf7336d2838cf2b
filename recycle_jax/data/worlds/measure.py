"""Constants of a world that measurements are scaled by.

Light is `(frame + 1) / 2`: 0 on a world's dark background. The mass of a frame is its light summed over
pixels.
"""

import jax
import jax.numpy as jnp

from recycle_jax.data.worlds.base import World, simulate
from recycle_jax.typing import PRNGKey, Scalar


def mass(frames: jax.Array) -> jax.Array:
    """Returns the mass of `[..., h, w, c]` frames as `[...]`: light, averaged over channels, in pixels."""
    light = (jnp.clip(frames, -1.0, 1.0) + 1.0) / 2.0
    return jnp.sum(jnp.mean(light, axis=-1), axis=(-2, -1))


def half_pixel_distance(world: World, key: PRNGKey, samples: int = 64, frames: int = 32) -> Scalar:
    """Measures how far a frame is from itself moved by half a pixel: the tolerance of off-manifold distances.

    Args:
        world: the world.
        key: which frames are measured.
        samples: independent clips averaged over.
        frames: clip length; the last frame of each is measured.

    Returns:
        The expected mean squared difference over pixels and channels, over both axes of motion.
    """

    def distance(key: PRNGKey) -> Scalar:
        begin, run = jax.random.split(key)
        frame = simulate(world, world.initial(begin), run, frames)[1][-1]
        return (_shift_error(frame, 0) + _shift_error(frame, 1)) / 2.0

    return jnp.mean(jax.jit(jax.vmap(distance))(jax.random.split(key, samples)))


def _shift_error(frame: jax.Array, axis: int) -> Scalar:
    # Bilinear, by half a pixel: a pixel becomes the mean of itself and its neighbour, so that it changes
    # by half their difference. Edge pixels, which have no neighbour, stay.
    return jnp.sum(jnp.square(jnp.diff(frame, axis=axis) / 2.0)) / frame.size
