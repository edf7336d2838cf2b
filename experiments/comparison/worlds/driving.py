"""Driving: a winding road behind another car, in town and country, by day, by night and in rain.

The road is a loop, so that a drive may last for ever; `driving_view` draws what is seen from it. The car
ahead never leaves the view: gap and side swing about their middles without loss,

    x' = x cos ω + (v / ω) sin ω      v' = v cos ω - ω x sin ω                              (1)

at two paces that share no period. Where on the loop one is shows in the bend, the scenery and the lane
marks of one frame; the speed, and the other car's motion, show in two.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from experiments.comparison.worlds.driving_palette import DOMAINS, PLACES, WEATHERS, look
from experiments.comparison.worlds.driving_reading import Reading, read_frame, within_half_a_pixel
from experiments.comparison.worlds.driving_spans import LOOP
from experiments.comparison.worlds.driving_view import DASH, draw
from recycle_jax.data.worlds.base import WorldDefaults
from recycle_jax.typing import Clip, Frame, PRNGKey, Scalar

_SURGE, _WEAVE = 2.0 * np.pi / 64.0, 2.0 * np.pi / 41.0
_SIDE = 0.22
_LEAST_SWING = 0.6
_RAIN = 0.23


@struct.dataclass(kw_only=True)
class DrivingState:
    """The drive at one frame; lengths in depths of the nearest visible road.

    Attributes:
        along: `[]` float32, place on the loop, in [0, LOOP).
        speed: `[]` float32, length per frame.
        gap: `[]` float32, distance to the car ahead.
        closing: `[]` float32, change of the gap per frame.
        side: `[]` float32, how far the car ahead is right of the middle of the lane.
        sliding: `[]` float32, change of the side per frame.
        rain: `[]` float32, phase of the rain in [0, 1); 0 where it is dry.
        scene: `[]` int32, domain label.
    """

    along: jax.Array
    speed: jax.Array
    gap: jax.Array
    closing: jax.Array
    side: jax.Array
    sliding: jax.Array
    rain: jax.Array
    scene: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Driving(WorldDefaults):
    """A drive behind another car; domains are places by weathers, and labels do not depend on the choice.

    Attributes:
        size: height and width in pixels.
        places: which of `urban` and `rural` are drawn from.
        weathers: which of `day`, `night` and `rain` are drawn from.
        speed: least and greatest speed, in depths of the nearest visible road per frame.
        gap: least and greatest distance of the car ahead.
        gust: standard deviation of the random change of speed in each frame; above 0 the world is stochastic.
        context_frames: frames from which motion is read.
    """

    size: int = 32
    places: tuple[str, ...] = PLACES
    weathers: tuple[str, ...] = WEATHERS
    speed: tuple[float, float] = (0.25, 0.6)
    gap: tuple[float, float] = (1.7, 4.5)
    gust: float = 0.0
    context_frames: int = 4
    domains: tuple[str, ...] = dataclasses.field(default=DOMAINS, init=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, 3)

    @property
    def deterministic(self) -> bool:
        return self.gust == 0.0

    @property
    def scenes(self) -> tuple[int, ...]:
        """Labels of the domains drawn from."""
        return tuple(DOMAINS.index(f"{place}-{weather}") for place in self.places for weather in self.weathers)

    def initial(self, key: PRNGKey) -> DrivingState:
        """Returns a random place on the loop, in a random one of the domains."""
        along, speed, gap, side, rain, scene = jax.random.split(key, 6)
        middle, swing = self._gap
        gap_x, closing = _swinging(gap, swing, _SURGE)
        side_x, sliding = _swinging(side, _SIDE, _WEAVE)
        label = jax.random.choice(scene, np.array(self.scenes, np.int32))
        return DrivingState(
            along=jax.random.uniform(along, maxval=LOOP),
            speed=jax.random.uniform(speed, minval=self.speed[0], maxval=self.speed[1]),
            gap=middle + gap_x,
            closing=closing,
            side=side_x,
            sliding=sliding,
            rain=jnp.where(_wet(label), jax.random.uniform(rain), 0.0),
            scene=label,
        )

    def advance(self, state: DrivingState, key: PRNGKey) -> DrivingState:
        """Drives on for one frame; `key` is used only where `gust` is above 0."""
        middle = self._gap[0]
        gap, closing = _swing(state.gap - middle, state.closing, _SURGE)
        side, sliding = _swing(state.side, state.sliding, _WEAVE)
        speed = state.speed
        if not self.deterministic:
            speed = _mirrored(speed + self.gust * jax.random.normal(key), self.speed)
        return DrivingState(
            along=jnp.mod(state.along + state.speed, LOOP),
            speed=speed,
            gap=middle + gap,
            closing=closing,
            side=side,
            sliding=sliding,
            rain=jnp.where(_wet(state.scene), jnp.mod(state.rain + _RAIN, 1.0), 0.0),
            scene=state.scene,
        )

    def render(self, state: DrivingState) -> Frame:
        """Draws the view; `[size, size, 3]` in [-1, 1]."""
        return 2.0 * draw(self.size, state.along, state.gap, state.side, state.rain, look(state.scene)) - 1.0

    def domain(self, state: DrivingState) -> Scalar:
        """Returns the label of the place and weather, an index of `domains`."""
        return state.scene

    def driven(self, earlier: Frame, later: Frame) -> Scalar:
        """Reads how far the camera drove between two frames `[h, w, 3]`, of anything at all."""
        last, first = read_frame(_light(later), _light(earlier), self.gap, _SIDE)
        return _driven(first, last)

    def decode(self, frames: Clip) -> tuple[DrivingState, Scalar]:
        """Reads the first and the last frame (see `driving_reading`), and the motion from both.

        The confidence halves when the frame drawn is as far from the frame seen as half a pixel of motion.
        """
        light = _light(frames)
        last, first = read_frame(light[-1], light[0], self.gap, _SIDE)
        ages = frames.shape[0] - 1
        driven = _driven(first, last)
        speed = jnp.clip(driven / ages, *self.speed)
        middle, swing = self._gap
        gap, closing = _swung(first.gap - middle, last.gap - middle, ages, swing, _SURGE)
        side, sliding = _swung(first.side, last.side, ages, _SIDE, _WEAVE)
        state = DrivingState(
            along=last.along,
            speed=speed,
            gap=middle + gap,
            closing=closing,
            side=side,
            sliding=sliding,
            rain=jnp.where(_wet(last.scene), last.rain, 0.0),
            scene=last.scene,
        )
        away = jnp.mean(jnp.square(self.render(state) - 2.0 * light[-1] + 1.0))
        tolerance = jnp.asarray(within_half_a_pixel(self.size))[state.scene]
        miss = (driven / ages - speed) / 0.1
        return state, 1.0 / ((1.0 + away / tolerance) * (1.0 + jnp.square(miss)))

    @property
    def _gap(self) -> tuple[float, float]:
        """The middle of the gap, and its greatest swing."""
        return (self.gap[0] + self.gap[1]) / 2.0, (self.gap[1] - self.gap[0]) / 2.0


def _light(frames: jax.Array) -> jax.Array:
    """Frames of anything in [0, 1]."""
    return (jnp.clip(jnp.nan_to_num(frames), -1.0, 1.0) + 1.0) / 2.0


def _driven(first: Reading, last: Reading) -> Scalar:
    """The shortest way along the loop from one place to the other."""
    return jnp.mod(last.along - first.along + LOOP / 2.0, LOOP) - LOOP / 2.0


def _wet(scene: Scalar) -> jax.Array:
    return scene % len(WEATHERS) == WEATHERS.index("rain")


def _swinging(key: PRNGKey, most: float, pace: float) -> tuple[Scalar, Scalar]:
    """Returns a random place and velocity of a swing of at most `most`."""
    size, phase = jax.random.split(key)
    swing = jax.random.uniform(size, minval=_LEAST_SWING * most, maxval=most)
    angle = jax.random.uniform(phase, maxval=2.0 * np.pi)
    return swing * jnp.cos(angle), -pace * swing * jnp.sin(angle)


def _swing(place: Scalar, velocity: Scalar, pace: float) -> tuple[Scalar, Scalar]:
    """Returns place and velocity one frame later (equation 1)."""
    cos, sin = float(np.cos(pace)), float(np.sin(pace))
    return place * cos + velocity * (sin / pace), velocity * cos - place * (sin * pace)


def _swung(first: Scalar, last: Scalar, ages: int, most: float, pace: float) -> tuple[Scalar, Scalar]:
    """Returns place and velocity at the last of two places seen `ages` frames apart, as a swing can be."""
    cos, sin = float(np.cos(pace * ages)), float(np.sin(pace * ages))
    across = (last * cos - first) / sin
    swing = jnp.sqrt(jnp.square(last) + jnp.square(across))
    scale = jnp.clip(swing, _LEAST_SWING * most, most) / jnp.maximum(swing, 1e-6)
    return last * scale, across * scale * pace


def _mirrored(value: Scalar, limits: tuple[float, float]) -> Scalar:
    low, high = limits
    value = low + jnp.abs(value - low)
    return jnp.maximum(high - jnp.abs(high - value), low)


def _check(world: Driving) -> None:
    if world.size < 16:
        raise ValueError(f"size={world.size} must be at least 16: below, lane marks and the far car are not seen.")
    for name, known in (("places", PLACES), ("weathers", WEATHERS)):
        chosen = getattr(world, name)
        if not chosen or set(chosen) - set(known) or len(set(chosen)) < len(chosen):
            raise ValueError(f"{name}={chosen} must name one or more of {known}, each once.")
    if not 0.0 < world.speed[0] <= world.speed[1] < DASH / 2.0:
        raise ValueError(
            f"speed={world.speed} must be 0 < least <= greatest < {DASH / 2.0}: from there on lane marks seem to "
            "run backwards."
        )
    if not 1.5 <= world.gap[0] < world.gap[1] <= 6.0:
        raise ValueError(
            f"gap={world.gap} must be 1.5 <= least < greatest <= 6: nearer, the car ahead hides the road; farther, "
            "it is smaller than two pixels of a frame of 32."
        )
    if world.gust < 0.0:
        raise ValueError(f"gust={world.gust} must be at least 0; 0 makes the world deterministic.")
    if not 2 <= world.context_frames <= 12:
        raise ValueError(
            f"context_frames={world.context_frames} must be from 2 to 12: one frame shows no speed, and over more "
            "than 12 the swings of the car ahead are not told apart."
        )
