"""What holds for any world, shown on a user's own world of one screen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from recycle_jax.data.base import ClipSource
from recycle_jax.data.worlds.balls import BouncingBalls
from recycle_jax.data.worlds.base import (
    DecodableWorld,
    World,
    WorldDefaults,
    continue_from,
    oracle_step,
    pixel_grid,
    project,
    simulate,
)
from recycle_jax.data.worlds.clips import WorldClips
from recycle_jax.data.worlds.measure import half_pixel_distance, mass


@struct.dataclass
class Lamp:
    """A lamp at a place on a circle."""

    angle: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Carousel(WorldDefaults):
    """A lamp that goes round, one channel, at a fixed pace."""

    pace: float = 0.2
    shape: tuple[int, int, int] = (8, 10, 1)

    def initial(self, key):
        return Lamp(angle=jax.random.uniform(key, maxval=2.0 * np.pi))

    def advance(self, state, key):
        return Lamp(angle=jnp.mod(state.angle + self.pace, 2.0 * np.pi))

    def render(self, state):
        y, x = pixel_grid(*self.shape[:2])
        across = x - 5.0 - 2.5 * jnp.cos(state.angle)
        down = y - 4.0 - 2.5 * jnp.sin(state.angle)
        return 2.0 * jnp.exp(-0.5 * (across * across + down * down))[..., None] - 1.0

    def decode(self, frames):
        light = (jnp.clip(jnp.nan_to_num(frames[-1, ..., 0]), -1.0, 1.0) + 1.0) / 2.0
        y, x = pixel_grid(*self.shape[:2])
        angle = jnp.arctan2(jnp.sum(light * (y - 4.0)), jnp.sum(light * (x - 5.0)))
        return Lamp(angle=jnp.mod(angle, 2.0 * np.pi)), jnp.clip(jnp.max(light), 0.0, 1.0)


WORLD = Carousel()


def test_a_world_of_one_screen_is_a_whole_world():
    assert isinstance(WORLD, World) and isinstance(WORLD, DecodableWorld)
    batch = WorldClips(world=WORLD).batch(0, 3, 5)
    assert batch.clip.shape == (3, 5, 8, 10, 1)
    assert batch.domain.dtype == jnp.int32 and WORLD.domains == ("all",)
    context = batch.clip[0, : WORLD.context_frames]
    np.testing.assert_allclose(jax.jit(lambda frames: project(WORLD, frames))(context), context[-1], atol=0.1)
    following = jax.jit(lambda frames: oracle_step(WORLD, frames, jax.random.key(0)))(context)
    np.testing.assert_allclose(following, batch.clip[0, WORLD.context_frames], atol=0.1)


def test_continuing_a_state_gives_the_frames_after_it():
    key = jax.random.key(4)

    @jax.jit
    def run(key):
        states, clip = simulate(WORLD, WORLD.initial(key), key, 6)
        return clip, continue_from(WORLD, jax.tree.map(lambda x: x[2], states), key, 3)

    clip, rest = run(key)
    np.testing.assert_allclose(rest, clip[3:], atol=1e-5)


@pytest.mark.parametrize("world", [WORLD, BouncingBalls(size=16, kick=0.1)], ids=["carousel", "balls"])
def test_a_row_depends_on_seed_step_and_place_only(world):
    source = WorldClips(world=world, seed=3)
    assert isinstance(source, ClipSource)
    few, many = source.batch(5, 2, 4).clip, source.batch(5, 6, 4).clip
    np.testing.assert_allclose(few, many[:2], atol=1e-4)
    np.testing.assert_allclose(source.batch(5, 2, 4, first=4).clip, many[4:], atol=1e-4)
    np.testing.assert_array_equal(few, WorldClips(world=world, seed=3).batch(5, 2, 4).clip)
    for other in (source.batch(6, 2, 4), WorldClips(world=world, seed=4).batch(5, 2, 4)):
        assert float(jnp.max(jnp.abs(other.clip - few))) > 0.1
    assert float(jnp.max(jnp.abs(many[0] - many[1]))) > 0.1


def test_a_seed_that_is_no_key_is_refused():
    with pytest.raises(ValueError, match="seed=-1"):
        WorldClips(world=WORLD, seed=-1)


@pytest.mark.parametrize(("rows", "frames"), [(0, 4), (2, 0)])
def test_empty_batches_are_refused(rows, frames):
    with pytest.raises(ValueError, match="at least 1"):
        WorldClips(world=WORLD).batch(0, rows, frames)


def test_mass_counts_lit_pixels():
    frame = jnp.full((4, 4, 3), -1.0).at[1, 2].set(1.0)
    np.testing.assert_allclose(mass(frame), 1.0)
    np.testing.assert_allclose(mass(jnp.broadcast_to(frame, (2, 5, 4, 4, 3))), np.ones((2, 5)))


def test_half_a_pixel_is_half_the_difference_of_neighbours():
    @dataclasses.dataclass(frozen=True)
    class Ramp(Carousel):
        def render(self, state):
            return jnp.broadcast_to(jnp.arange(10.0)[None, :, None] / 10.0, self.shape)

    found = half_pixel_distance(Ramp(), jax.random.key(0), samples=2, frames=1)
    np.testing.assert_allclose(found, 0.5 * 0.05**2 * 9 / 10, rtol=1e-5)
    assert float(half_pixel_distance(WORLD, jax.random.key(0), samples=4, frames=2)) > 1e-3
