"""Bouncing balls: the world of the quickstart.

Discs of different colour, size and speed bounce off the walls and off each other without loss
(`collisions`). One ball never hides another, and a window of frames shows all there is to know: positions
and sizes in the last frame, velocities in the motion. Balls shine in fixed colours on a dark ground.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from recycle_jax.data.worlds.base import WorldDefaults
from recycle_jax.data.worlds.collisions import fly, settle
from recycle_jax.data.worlds.discs import Discs, coverage
from recycle_jax.data.worlds.tracking import Tracker
from recycle_jax.typing import Clip, Frame, PRNGKey, Scalar

# Directions in colour space as far apart as bright colours allow: the decoder tells balls apart by them.
PALETTE = (
    (1.00, 0.42, 0.18),
    (0.22, 0.55, 1.00),
    (0.30, 0.95, 0.40),
    (1.00, 0.92, 0.25),
    (0.85, 0.30, 1.00),
    (0.92, 0.92, 0.92),
)
_TRIES = 64


@struct.dataclass(kw_only=True)
class BallsState:
    """The balls at one frame.

    Attributes:
        discs: positions, velocities and radii; ball `i` has colour `i` of the palette.
        loudness: `[]` float32, impulse of all bounces since the last frame, in units of what a ball of middle
            size and top speed gives a wall head-on; 0 where nothing was hit.
        moment: `[]` float32, when that was, in frames since the last frame, in [0, 1).
    """

    discs: Discs
    loudness: jax.Array
    moment: jax.Array


@struct.dataclass(kw_only=True)
class ImpactTrack:
    """What a microphone would note, frame by frame.

    Attributes:
        time: `[t]` float32, when the bounces of each frame happened, in frames since frame 0.
        loudness: `[t]` float32, as in `BallsState`; 0 where there was none.
    """

    time: jax.Array
    loudness: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class BouncingBalls(WorldDefaults):
    """Balls that bounce elastically in a square box.

    Attributes:
        size: height and width in pixels.
        balls: number of balls, at most 6.
        radius: least and greatest radius, as a fraction of `size`.
        speed: least and greatest speed, pixels per frame. Bounces between balls exchange speeds, so with
            several balls it is the total energy that this range bounds.
        gravity: downward acceleration, pixels per frame².
        kick: standard deviation of the random change of velocity in each frame, pixels per frame; above 0 the
            world is stochastic and each ball's speed is kept below the greatest.
        context_frames: frames from which velocities are read.
        substeps: collision checks a frame.
    """

    size: int = 32
    balls: int = 1
    radius: tuple[float, float] = (0.11, 0.14)
    speed: tuple[float, float] = (1.0, 2.0)
    gravity: float = 0.0
    kick: float = 0.0
    context_frames: int = 4
    substeps: int = 4

    def __post_init__(self) -> None:
        _check(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, 3)

    @property
    def deterministic(self) -> bool:
        return self.kick == 0.0

    @property
    def colours(self) -> np.ndarray:
        """`[balls, 3]` float32 light of each ball, in [0, 1]."""
        return np.array(PALETTE[: self.balls], np.float32)

    def initial(self, key: PRNGKey) -> BallsState:
        """Returns balls of random size and velocity, placed without overlap."""
        size_key, speed_key, angle_key, place_key = jax.random.split(key, 4)
        low, high = (edge * self.size for edge in self.radius)
        radius = jax.random.uniform(size_key, (self.balls,), minval=low, maxval=high)
        speed = jax.random.uniform(speed_key, (self.balls,), minval=self.speed[0], maxval=self.speed[1])
        angle = jax.random.uniform(angle_key, (self.balls,), maxval=2.0 * np.pi)
        velocity = speed[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        discs = Discs(position=_place(place_key, radius, self.size), velocity=velocity, radius=radius)
        return quiet(settle(discs, self.size))

    def advance(self, state: BallsState, key: PRNGKey) -> BallsState:
        """Moves the balls by one frame; `key` is used only where `kick` is above 0."""
        state = self.coast(state)
        if self.deterministic:
            return state
        velocity = state.discs.velocity
        kicked = velocity + self.kick * jax.random.normal(key, velocity.shape)
        speed = jnp.linalg.norm(kicked, axis=-1, keepdims=True)
        least = self.speed[0] if self.gravity == 0.0 else 0.0
        kicked = kicked * jnp.clip(speed, least, self.speed[1]) / jnp.maximum(speed, 1e-6)
        return dataclasses.replace(state, discs=dataclasses.replace(state.discs, velocity=kicked))

    def coast(self, state: BallsState) -> BallsState:
        """Moves the balls by one frame without kicks."""
        discs, impulse, moment = fly(state.discs, self.size, self.gravity, self.substeps)
        middle = self.size * sum(self.radius) / 2.0
        return BallsState(discs=discs, loudness=impulse / (2.0 * middle**2 * self.speed[1]), moment=moment)

    def render(self, state: BallsState) -> Frame:
        """Draws the balls; `[size, size, 3]` in [-1, 1]."""
        light = jnp.einsum("nhw,nc->hwc", coverage(state.discs, self.size), self.colours)
        return 2.0 * jnp.minimum(light, 1.0) - 1.0

    def decode(self, frames: Clip) -> tuple[BallsState, Scalar]:
        """Reads the balls at the last frame of a window; see `tracking`."""
        tracker = Tracker(
            size=self.size,
            colours=PALETTE[: self.balls],
            radius=(self.radius[0] * self.size, self.radius[1] * self.size),
            speed=self.speed,
            gravity=self.gravity,
            substeps=self.substeps,
        )
        discs, confidence = tracker.read(frames)
        return quiet(discs), confidence


def quiet(discs: Discs) -> BallsState:
    """Returns the state of discs that have hit nothing since the last frame."""
    return BallsState(discs=discs, loudness=jnp.float32(0.0), moment=jnp.float32(0.0))


def impact_track(states: BallsState) -> ImpactTrack:
    """Returns the bounces of a run of states, whose leaves have a leading axis `t`."""
    before = jnp.arange(states.loudness.shape[0], dtype=jnp.float32) - 1.0
    return ImpactTrack(time=before + states.moment, loudness=states.loudness)


def _place(key: PRNGKey, radius: jax.Array, size: int) -> jax.Array:
    # Ball by ball, the first of some uniform places that is free, or the freest where the box is crowded.
    placed: list[jax.Array] = []
    for ball, ball_key in enumerate(jax.random.split(key, radius.shape[0])):
        places = jax.random.uniform(ball_key, (_TRIES, 2), minval=radius[ball], maxval=size - radius[ball])
        gap = jnp.full((_TRIES,), jnp.inf)
        for other, centre in enumerate(placed):
            distance = jnp.linalg.norm(places - centre[None], axis=-1)
            gap = jnp.minimum(gap, distance - radius[ball] - radius[other])
        placed.append(places[jnp.argmax(jnp.minimum(gap, 0.0))])
    return jnp.stack(placed)


def _check(world: BouncingBalls) -> None:
    if not 1 <= world.balls <= len(PALETTE):
        raise ValueError(f"balls={world.balls} must be between 1 and {len(PALETTE)}, one a colour of the palette.")
    if not 0.0 < world.radius[0] <= world.radius[1] <= 0.25:
        raise ValueError(
            f"radius={world.radius} must be 0 < least <= greatest <= 0.25, as fractions of the frame: "
            f"for pixels, divide by size={world.size}."
        )
    if world.radius[0] * world.size < 1.0:
        raise ValueError(
            f"radius={world.radius} of size={world.size} gives balls of less than 1 pixel: too small to be "
            "placed within half a pixel. Make the radius or the size larger."
        )
    area = world.balls * np.pi * world.radius[1] ** 2
    if area > 0.4:
        raise ValueError(
            f"{world.balls} balls of radius {world.radius[1]} fill {area:.0%} of the box, and at most "
            "40% leaves them room to move. Use fewer or smaller balls."
        )
    if not 0.0 < world.speed[0] <= world.speed[1] <= world.radius[0] * world.size * world.substeps / 2:
        raise ValueError(
            f"speed={world.speed} must be 0 < least <= greatest, and at most half a radius in each of "
            f"substeps={world.substeps}: slow the balls down or use more substeps."
        )
    if world.gravity < 0.0 or world.kick < 0.0 or world.substeps < 1:
        raise ValueError(
            f"gravity={world.gravity} and kick={world.kick} must be at least 0, and "
            f"substeps={world.substeps} at least 1."
        )
    if world.context_frames < 2:
        raise ValueError(
            f"context_frames={world.context_frames} must be at least 2: one frame shows no velocity; "
            "4 also show it through a bounce."
        )
