"""Moving digits: real handwriting that drifts about, bounces off the walls and passes through itself.

Each digit is an example of a person's hand (`digit_shapes`) in a tint of its own. The tints share out the light:

    l = Σ_i a_i c_i    with Σ_i c_i <= 1 in each channel                                    (1)

so where digits overlap their light adds up without loss, and the pseudo-inverse of the tints tells the
digits `a_i` apart. The walls are cushions (`cushions`), so two frames show all there is to know.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from experiments.comparison.worlds.cushions import give, glide, launch, lean
from experiments.comparison.worlds.digit_reading import make_reader
from experiments.comparison.worlds.digit_shapes import Shapes, load_shapes
from recycle_jax.data.worlds.base import WorldDefaults
from recycle_jax.typing import Clip, Frame, PRNGKey, Scalar

# By the number of digits, the light of each.
TINTS = (
    ((1.0, 1.0, 1.0),),
    ((1.0, 0.55, 0.10), (0.0, 0.45, 0.90)),
    ((1.0, 0.15, 0.05), (0.0, 0.75, 0.15), (0.0, 0.10, 0.80)),
)
_MOST_SHAPES = 200
_LEAST_SCALE = 6.0
_LEAST_ROOM = 2.0


@struct.dataclass(kw_only=True)
class DigitsState:
    """The digits at one frame.

    Attributes:
        shape: `[n]` int32, which handwritten example each digit is.
        position: `[n, 2]` float32, `(x, y)` of the centroid of its ink, pixels from the top left corner.
        velocity: `[n, 2]` float32, pixels per frame.
    """

    shape: jax.Array
    position: jax.Array
    velocity: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class MovingDigits(WorldDefaults):
    """Handwritten digits that move in a square box; domains are slow and fast digits.

    Needs scikit-learn, which brings the handwriting: `pip install 'recycle_jax[digits]'`.

    Attributes:
        size: height and width in pixels.
        digits: how many digits there are at once, at most 3.
        shapes: how many examples of handwriting there are; they take the classes 0 to 9 in turn.
        scale: height of a digit, pixels.
        speeds: least and greatest speed, pixels per frame; a speed below the middle is of domain `slow`.
        paces: the domains that clips begin in.
        kick: standard deviation of the random change of velocity in each frame, pixels per frame; above 0 the
            world is stochastic and speeds wander within `speeds`.
        context_frames: frames of a window, of which the last two are read.
    """

    size: int = 32
    digits: int = 1
    shapes: int = 20
    scale: float = 12.0
    speeds: tuple[float, float] = (0.8, 2.0)
    paces: tuple[str, ...] = ("slow", "fast")
    kick: float = 0.0
    context_frames: int = 2
    domains: tuple[str, ...] = dataclasses.field(default=("slow", "fast"), init=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, 3)

    @property
    def deterministic(self) -> bool:
        return self.kick == 0.0

    @property
    def cell(self) -> float:
        """Width of one of the 8 cells of a digit, pixels."""
        return self.scale / 8.0

    @property
    def handwriting(self) -> Shapes:
        """The examples, and which digit each is."""
        return load_shapes(self.shapes)

    @property
    def tints(self) -> np.ndarray:
        """`[digits, 3]` float32 light of each digit, in [0, 1]."""
        return np.array(TINTS[self.digits - 1], np.float32)

    def initial(self, key: PRNGKey) -> DigitsState:
        """Returns random digits that fly freely, all at speeds of one of `paces`."""
        shape_key, pace_key, speed_key, angle_key, place_key = jax.random.split(key, 5)
        shape = jax.random.randint(shape_key, (self.digits,), 0, self.shapes, jnp.int32)
        pace = jax.random.choice(pace_key, np.array([self.domains.index(pace) for pace in self.paces], np.int32))
        width = (self.speeds[1] - self.speeds[0]) / 2.0
        speed = self.speeds[0] + width * (pace.astype(jnp.float32) + jax.random.uniform(speed_key, (self.digits,)))
        angle = jax.random.uniform(angle_key, (self.digits,), maxval=2.0 * np.pi)
        velocity = speed[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        middle, half = self._room(shape)
        place = jax.random.uniform(place_key, (self.digits, 2), minval=-1.0)
        return DigitsState(shape=shape, position=middle + half * place, velocity=velocity)

    def advance(self, state: DigitsState, key: PRNGKey) -> DigitsState:
        """Moves the digits by one frame; `key` is used only where `kick` is above 0."""
        middle, half = self._room(state.shape)
        x, velocity = glide(state.position - middle, state.velocity, half)
        state = dataclasses.replace(state, position=middle + x, velocity=velocity)
        if self.deterministic:
            return state
        kicked = velocity + self.kick * jax.random.normal(key, velocity.shape)
        return self._within_speeds(dataclasses.replace(state, velocity=kicked))

    def render(self, state: DigitsState) -> Frame:
        """Draws the digits; `[size, size, 3]` in [-1, 1]."""
        light = jnp.einsum("nhw,nc->hwc", self._draw(state), self.tints)
        return 2.0 * jnp.clip(light, 0.0, 1.0) - 1.0

    def domain(self, state: DigitsState) -> Scalar:
        """Returns 0 for slow, 1 for fast digits, by their mean speed."""
        return (jnp.mean(self.speed(state)) >= sum(self.speeds) / 2.0).astype(jnp.int32)

    def identity(self, state: DigitsState) -> jax.Array:
        """Returns which handwritten digit each one is, int32 `[n]`."""
        return state.shape

    def speed(self, state: DigitsState) -> jax.Array:
        """Returns the speed `[n]` of each digit in free flight, also while a cushion turns it round."""
        middle, half = self._room(state.shape)
        leant = lean(state.position - middle, half)
        return jnp.sqrt(jnp.sum(jnp.square(state.velocity) + jnp.square(leant), axis=-1))

    def decode(self, frames: Clip) -> tuple[DigitsState, Scalar]:
        """Reads the last two frames of a window: the digits of the last, and the velocities that led there."""
        light = (jnp.clip(jnp.nan_to_num(frames[-2:]), -1.0, 1.0) + 1.0) / 2.0
        maps = jnp.clip(jnp.einsum("thwc,cn->tnhw", light, np.linalg.pinv(self.tints)), 0.0, 1.0)
        shapes, positions = jax.vmap(jax.vmap(make_reader(self.shapes, self.cell).read))(maps)
        middle, half = self._room(shapes[-1])
        reach = half + give(self.speeds[1])
        before, now = jnp.unstack(jnp.clip(positions - middle[None], -reach[None], reach[None]))
        # Mechanics run backwards too: what leads from here to there would have led from there to here.
        velocity = -launch(now, before, half)
        state = DigitsState(shape=shapes[-1], position=middle + now, velocity=velocity)
        state = self._within_speeds(state)
        came_from = middle + glide(now, -state.velocity, half)[0]
        miss = jnp.max(jnp.sum(jnp.square(came_from - positions[0]), axis=-1))
        earlier = dataclasses.replace(state, position=came_from)
        explained = [self._explained(each, maps[t], light[t]) for t, each in enumerate((earlier, state))]
        return state, jnp.minimum(*explained) / (1.0 + miss)

    def _draw(self, state: DigitsState) -> jax.Array:
        """Returns the light `[n, size, size]` of each digit."""
        draw = jax.vmap(self.handwriting.draw, in_axes=(0, 0, None, None))
        return draw(state.shape, state.position, self.cell, self.size)

    def _room(self, shape: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the middle of the free flight of digits of shapes `[n]`, and half its width: `[n, 2]`, pixels.

        What is left to the cushions keeps the strokes of the fastest digit inside the frame.
        """
        before = jnp.asarray(self.handwriting.before)[shape] * self.cell
        after = jnp.asarray(self.handwriting.after)[shape] * self.cell
        half = (self.size - before - after) / 2.0 - give(self.speeds[1])
        return (self.size + before - after) / 2.0, half

    def _within_speeds(self, state: DigitsState) -> DigitsState:
        """Changes velocities as little as brings the speeds into range."""
        moving = jnp.sum(jnp.square(state.velocity), axis=-1)
        speed = self.speed(state)
        wanted = jnp.square(jnp.clip(speed, *self.speeds)) - (jnp.square(speed) - moving)
        factor = jnp.sqrt(jnp.maximum(wanted, 0.0) / jnp.maximum(moving, 1e-12))
        return dataclasses.replace(state, velocity=state.velocity * factor[:, None])

    def _explained(self, state: DigitsState, maps: jax.Array, light: Frame) -> Scalar:
        """Returns common over united light, seen and drawn: the least over the digits and the frame."""
        drawn = self._draw(state)
        picture = jnp.einsum("nhw,nc->hwc", drawn, self.tints)
        return jnp.minimum(jnp.min(_overlap(drawn, maps, (1, 2))), _overlap(picture, light, (0, 1, 2)))


def _overlap(first: jax.Array, second: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    union = jnp.sum(jnp.maximum(first, second), axis=axes)
    return jnp.sum(jnp.minimum(first, second), axis=axes) / jnp.maximum(union, 1e-6)


def _check(world: MovingDigits) -> None:
    if not 1 <= world.digits <= len(TINTS):
        raise ValueError(
            f"digits={world.digits} must be from 1 to {len(TINTS)}: where digits overlap, three channels tell no "
            "more tints apart."
        )
    if not 2 <= world.shapes <= _MOST_SHAPES:
        raise ValueError(
            f"shapes={world.shapes} must be from 2 to {_MOST_SHAPES}: more make the reader's templates large."
        )
    if world.scale < _LEAST_SCALE:
        raise ValueError(f"scale={world.scale} must be at least {_LEAST_SCALE} pixels: below, strokes merge.")
    if not 0.0 < world.speeds[0] < world.speeds[1]:
        raise ValueError(
            f"speeds={world.speeds} must be 0 < least < greatest, in pixels per frame: the domains share this range."
        )
    if not world.paces or not set(world.paces) <= set(world.domains):
        raise ValueError(
            f"paces={world.paces} must name at least one of the domains and no other: choose from {world.domains}."
        )
    if world.kick < 0.0:
        raise ValueError(f"kick={world.kick} must be at least 0; 0 makes the world deterministic.")
    if world.context_frames < 2:
        raise ValueError(f"context_frames={world.context_frames} must be at least 2: one frame shows no velocity.")
    writing = load_shapes(world.shapes)
    needed = world.cell * float((writing.before + writing.after).max()) + 2.0 * give(world.speeds[1]) + _LEAST_ROOM
    if world.size < needed:
        raise ValueError(
            f"size={world.size} must be at least {math.ceil(needed)} pixels, so that digits of scale={world.scale} "
            f"and speeds={world.speeds} have room to move: enlarge it, or make the digits smaller or slower."
        )
