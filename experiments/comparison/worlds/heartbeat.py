"""A beating heart chamber, as an ultrasound probe at its apex might see it.

The lumen is an ellipse of half axes `(α, 1.35 α)`. Over a cycle of phase `φ` its area shrinks by the
fraction `c`, the contraction, and grows again, fast in and slower out; the wall about it keeps its area,
so it thickens:

    s(φ) = sin²(π w)    w = φ + (1 - cos 2πφ) / 10         how far the beat has gone          (1)
    α_in² = α_0² (1 - c s)      α_out² = α_in² + (α_1² - α_0²)                               (2)

with `α_1` the outer and `α_0` the inner half axis at rest; a weak heart (small `c`) has the thinner wall,
so contraction shows at any phase. Blood is coloured by its direction, red as the lumen fills and blue as
it empties: a jet through the gap of the wall whose bands have travelled as far as blood has been moved,
and a swirl that circles in the lumen four times a cycle, so that a few frames show the phase and how fast
it runs.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from experiments.comparison.worlds.templates import Templates, make_templates
from recycle_jax.data.worlds.base import WorldDefaults
from recycle_jax.typing import Clip, Frame, PRNGKey, Scalar

_TALL = 1.35
_TURNS = 4
_LEAST_SCALE = 0.85
_TOP_PACE = 1.45
_PHASES = 64
_COARSE = 16
_WALL = np.array((0.92, 0.84, 0.72), np.float32)
_LUMEN = np.array((0.14, 0.06, 0.10), np.float32)
_FILLING = np.array((1.0, 0.25, 0.12), np.float32)
_EMPTYING = np.array((0.15, 0.40, 1.0), np.float32)


@struct.dataclass(kw_only=True)
class HeartState:
    """The heart at one frame.

    Attributes:
        phase: `[]` float32, where in the cycle, in [0, 1); 0 is the fullest.
        rate: `[]` float32, cycles per frame.
        contraction: `[]` float32, the fraction of the lumen's area that a beat empties.
        scale: `[]` float32, size of the heart, 1 the largest.
    """

    phase: jax.Array
    rate: jax.Array
    contraction: jax.Array
    scale: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heartbeat(WorldDefaults):
    """A beating chamber with wall and flow; domains are weak and normal contraction.

    Attributes:
        size: height and width in pixels.
        period: least and greatest length of a cycle, frames.
        contraction: least and greatest contraction.
        weak_below: contractions below this are of domain `weak`.
        variation: standard deviation of the change of period and contraction over one cycle, as a fraction of
            their ranges; above 0 the world is stochastic.
        context_frames: frames from which the rate is read.
    """

    size: int = 32
    period: tuple[float, float] = (60.0, 80.0)
    contraction: tuple[float, float] = (0.25, 0.65)
    weak_below: float = 0.45
    variation: float = 0.0
    context_frames: int = 4
    domains: tuple[str, ...] = dataclasses.field(default=("weak", "normal"), init=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, 3)

    @property
    def deterministic(self) -> bool:
        return self.variation == 0.0

    @property
    def rate(self) -> tuple[float, float]:
        """Least and greatest rate, cycles per frame."""
        return (1.0 / self.period[1], 1.0 / self.period[0])

    def initial(self, key: PRNGKey) -> HeartState:
        """Returns a random heart at a random phase."""
        phase, period, contraction, scale = jax.random.split(key, 4)
        return HeartState(
            phase=jax.random.uniform(phase),
            rate=1.0 / jax.random.uniform(period, minval=self.period[0], maxval=self.period[1]),
            contraction=jax.random.uniform(contraction, minval=self.contraction[0], maxval=self.contraction[1]),
            scale=jax.random.uniform(scale, minval=_LEAST_SCALE, maxval=1.0),
        )

    def advance(self, state: HeartState, key: PRNGKey) -> HeartState:
        """Moves the heart on by one frame; `key` is used only where `variation` is above 0."""
        state = dataclasses.replace(state, phase=jnp.mod(state.phase + state.rate, 1.0))
        if self.deterministic:
            return state
        # Independent steps of this size add up to `variation` over the frames of one cycle.
        noise = self.variation * jnp.sqrt(state.rate) * jax.random.normal(key, (2,))
        return dataclasses.replace(
            state,
            rate=_walk(state.rate, noise[0], self.rate),
            contraction=_walk(state.contraction, noise[1], self.contraction),
        )

    def render(self, state: HeartState) -> Frame:
        """Draws the heart; `[size, size, 3]` in [-1, 1]."""
        x, y = _grid(self.size)
        beat, flow = _beat(state.phase)
        inner, outer = _axes(state, beat, self.contraction)
        lumen, whole = _inside(x, y, inner, self.size), _inside(x, y, outer, self.size)
        valve = jnp.exp(-jnp.square(x / 0.17)) * jax.nn.sigmoid(y * 12.0)
        wall = (whole - lumen) * (1.0 - 0.9 * valve)
        swirl = lumen * _swirl(x, y, state.phase, inner)
        jet = _jet(x, y, state.contraction * beat, flow, whole)
        light = _paint(wall, _WALL) + _paint(lumen, _LUMEN) + _paint(swirl + jet, _blood(flow))
        return 2.0 * jnp.clip(light, 0.0, 1.0) - 1.0

    def domain(self, state: HeartState) -> Scalar:
        """Returns 0 for a weak, 1 for a normal heart."""
        return (state.contraction >= self.weak_below).astype(jnp.int32)

    def decode(self, frames: Clip) -> tuple[HeartState, Scalar]:
        """Reads the heart: each frame by templates, the rate by a line through the phases."""
        frames = jnp.clip(jnp.nan_to_num(frames), -1.0, 1.0)
        read = jax.vmap(lambda frame: _templates(self).read(_features(frame)))(frames)
        phase, contraction, scale = jnp.unstack(read, axis=-1)
        age = jnp.arange(1 - frames.shape[0], 1, dtype=jnp.float32)
        middle = sum(self.rate) / 2.0
        # Differences from the middle rate stay far from the jump of the phase at 1.
        ahead = jnp.mod(phase - phase[-1] - middle * age + 0.5, 1.0) - 0.5
        slope, offset = _line(age, ahead)
        state = HeartState(
            phase=jnp.mod(phase[-1] + jnp.clip(offset, -0.01, 0.01), 1.0),
            rate=jnp.clip(middle + slope, *self.rate),
            contraction=jnp.mean(contraction) if self.deterministic else contraction[-1],
            scale=jnp.mean(scale),
        )
        miss = jnp.max(jnp.abs(ahead - slope * age - offset))
        return state, self._explained(state, frames[-1]) / (1.0 + jnp.square(miss * 100.0))

    def _explained(self, state: HeartState, frame: Frame) -> Scalar:
        """Returns the common part of seen and drawn light over their union."""
        seen, drawn = (frame + 1.0) / 2.0, (self.render(state) + 1.0) / 2.0
        return jnp.sum(jnp.minimum(seen, drawn)) / jnp.sum(jnp.maximum(seen, drawn))


@functools.lru_cache(maxsize=16)
def _templates(heart: Heartbeat) -> Templates:
    def draw(point: jax.Array) -> jax.Array:
        phase, contraction, scale = point
        state = HeartState(phase=phase, rate=phase, contraction=contraction, scale=scale)
        return _features(heart.render(state))

    phases = np.arange(_PHASES) / _PHASES
    grid = (phases, np.linspace(*heart.contraction, 6), np.linspace(_LEAST_SCALE, 1.0, 4))
    return make_templates(draw, grid, components=48)


def _features(frame: Frame) -> jax.Array:
    """Returns `[d]`: brightness and blood colour, so coarse that small motions are small changes."""
    coarse = jax.image.resize(frame, (_COARSE, _COARSE, 3), "linear")
    # The wall has most of the light and the blood most of the news: weigh its colour up.
    return jnp.stack([jnp.mean(coarse, axis=-1), 2.0 * (coarse[..., 0] - coarse[..., 2])]).ravel()


def _beat(phase: Scalar) -> tuple[Scalar, Scalar]:
    """Returns how far the beat has gone (equation 1), and the flow in [-1, 1], positive for filling."""
    warped = phase + 0.1 * (1.0 - jnp.cos(2.0 * np.pi * phase))
    pace = 1.0 + 0.2 * np.pi * jnp.sin(2.0 * np.pi * phase)
    flow = -jnp.sin(2.0 * np.pi * warped) * pace / _TOP_PACE
    return jnp.square(jnp.sin(np.pi * warped)), flow


def _axes(state: HeartState, beat: Scalar, contraction: tuple[float, float]) -> tuple[Scalar, Scalar]:
    """Returns the inner and outer half axes (equation 2), in half frames."""
    strength = (state.contraction - contraction[0]) / max(contraction[1] - contraction[0], 1e-6)
    rest = 0.62 * state.scale
    hollow = rest * (0.80 - 0.16 * strength)
    inner = jnp.square(hollow) * (1.0 - state.contraction * beat)
    return jnp.sqrt(inner), jnp.sqrt(inner + jnp.square(rest) - jnp.square(hollow))


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    # In numpy, so that it is one constant wherever a heart is drawn.
    places = ((np.arange(size) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)
    x, y = np.meshgrid(places, places)
    return x, y


def _inside(x: np.ndarray, y: np.ndarray, axis: Scalar, size: int) -> jax.Array:
    """Returns which part of each pixel an ellipse covers, by its distance to first order."""
    level = jnp.sqrt(jnp.square(x) + jnp.square(y / _TALL) + 1e-8)
    slope = jnp.sqrt(jnp.square(x) + jnp.square(y / _TALL**2) + 1e-8) / level
    return jnp.clip(0.5 - (level - axis) / slope * (size / 2.0), 0.0, 1.0)


def _swirl(x: np.ndarray, y: np.ndarray, phase: Scalar, inner: Scalar) -> jax.Array:
    angle = 2.0 * np.pi * _TURNS * phase
    across = x - 0.5 * inner * jnp.cos(angle)
    down = y - 0.5 * inner * _TALL * jnp.sin(angle)
    return 0.9 * jnp.exp(-(jnp.square(across) + jnp.square(down)) / (2.0 * 0.13**2))


def _jet(x: np.ndarray, y: np.ndarray, moved: Scalar, flow: Scalar, outside: jax.Array) -> jax.Array:
    bands = 0.6 + 0.4 * jnp.cos(2.0 * np.pi * (y / 0.4 - 2.0 * moved))
    shape = jnp.exp(-jnp.square(x / 0.11)) * jax.nn.sigmoid((y - 0.2) * 12.0) * outside
    return shape * bands * jnp.abs(flow)


def _blood(flow: Scalar) -> jax.Array:
    filling = 0.5 + 0.5 * flow
    return filling * _FILLING + (1.0 - filling) * _EMPTYING


def _paint(cover: jax.Array, colour: np.ndarray | jax.Array) -> jax.Array:
    return cover[..., None] * colour[None, None]


def _line(x: jax.Array, y: jax.Array) -> tuple[Scalar, Scalar]:
    """Returns slope and offset at 0 of the least-squares line."""
    away = x - jnp.mean(x)
    slope = jnp.sum(away * y) / jnp.sum(jnp.square(away))
    return slope, jnp.mean(y) - slope * jnp.mean(x)


def _walk(value: Scalar, step: Scalar, limits: tuple[float, float]) -> Scalar:
    """Takes a random step, as a fraction of the range, mirrored at the limits."""
    low, high = limits
    value = low + jnp.abs(value + step * (high - low) - low)
    return jnp.maximum(high - jnp.abs(high - value), low)


def _check(heart: Heartbeat) -> None:
    if heart.size < 12:
        raise ValueError(f"size={heart.size} must be at least 12: below, the wall is thinner than a pixel.")
    if not 8.0 <= heart.period[0] <= heart.period[1]:
        raise ValueError(
            f"period={heart.period} must be 8 <= least <= greatest frames: below, the swirl turns by "
            "more than half a circle a frame and its direction is lost."
        )
    if not 0.0 < heart.contraction[0] <= heart.contraction[1] < 0.9:
        raise ValueError(
            f"contraction={heart.contraction} must be 0 < least <= greatest < 0.9, the fraction "
            "of the lumen's area that a beat empties."
        )
    if heart.variation < 0.0:
        raise ValueError(f"variation={heart.variation} must be at least 0; 0 makes the world deterministic.")
    if heart.context_frames < 2:
        raise ValueError(f"context_frames={heart.context_frames} must be at least 2: one frame does not show the rate.")
