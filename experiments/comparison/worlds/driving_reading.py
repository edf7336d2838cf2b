"""Reading the place on the loop, the car ahead, the rain and the domain back from frames of driving.

All reading is done on frames of 16 pixels, so that it costs the same at any size:

1. the domain whose coarse colours are nearest, in the metric of the spread inside a domain;
2. the phase of the rain, from the sum over its streaks of light times `exp(2πi phase)`;
3. the car, from the middle of all that is red on the road;
4. the place, from the nearest of the views along the loop without a car, where no car is seen;
5. `θ += (JᵀJ + λ)⁻¹ Jᵀ (frame - draw(θ))`, steps of Gauss and Newton on all of them; after the first, what
   is drawn is drawn larger and then shrunk, as the frame was.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from experiments.comparison.worlds.driving_palette import DOMAINS, Look, look
from experiments.comparison.worlds.driving_spans import HORIZON, LOOP, across, bend, down, row_of
from experiments.comparison.worlds.driving_view import draw, falling, streaks
from recycle_jax.typing import Frame, Scalar

_COARSE, _FINE = 16, 32
_PLACES = 192
_BLOCKS = 4
_NOWHERE = 1e4  # a gap at which a car is too small to be seen
# In place, inverse gap, side and rain: the greatest step, and that over which slopes are taken.
_STRIDE = np.array((0.12, 0.06, 0.12, 0.06), np.float32)
_NUDGE = np.array((0.02, 0.01, 0.02, 0.01), np.float32)

_DAMPING = 0.02


@struct.dataclass(kw_only=True)
class Reading:
    """What one frame shows: `[]` float32, scene int32; see `DrivingState`."""

    along: jax.Array
    gap: jax.Array
    side: jax.Array
    rain: jax.Array
    scene: jax.Array


def read_frame(light: Frame, earlier: Frame, gap: tuple[float, float], side: float) -> tuple[Reading, Reading]:
    """Reads two frames of one clip.

    Args:
        light: `[h, w, 3]` in [0, 1], the frame that tells the domain.
        earlier: another one.
        gap: least and greatest gap.
        side: greatest distance of the car from the middle of the lane.

    Returns:
        The readings of both.
    """
    scene = _scene(_shrunk(light, _COARSE))
    point = jax.vmap(lambda frame: _read(frame, scene, gap, side))(jnp.stack([light, earlier]))
    along, inverse, beside, rain = jnp.unstack(point, axis=-1)
    readings = [
        Reading(
            along=jnp.mod(along[i], LOOP), gap=1.0 / inverse[i], side=beside[i], rain=jnp.mod(rain[i], 1.0), scene=scene
        )
        for i in range(2)
    ]
    return readings[0], readings[1]


@functools.cache
def within_half_a_pixel(size: int) -> np.ndarray:
    """Returns `[domains]`: the mean squared change of a frame in [-1, 1] that is moved by half a pixel."""
    frames = _along_the_loop(32, lambda along, scene: _draw_point(size, _typical(along), look(scene)))
    changes = [np.square(np.diff(frames, axis=axis)).sum(axis=(2, 3, 4)) / (size * size * 3) for axis in (2, 3)]
    return np.mean(changes[0] + changes[1], axis=1).astype(np.float32) / 2.0


def _typical(along: Scalar) -> jax.Array:
    """Returns a point with its car at a gap that is neither the least nor the greatest."""
    phase = 2.0 * np.pi * 5.0 * along / LOOP
    inverse, side = 0.38 + 0.15 * jnp.sin(phase), 0.15 * jnp.cos(1.4 * phase)
    return jnp.stack([along, inverse, side, jnp.mod(7.3 * along, 1.0)])


def _draw_point(size: int, point: jax.Array, seen: Look) -> jax.Array:
    along, inverse, side, rain = point
    return draw(size, along, 1.0 / inverse, side, rain, seen)


def _along_the_loop(count: int, view: Callable[[Scalar, Scalar], jax.Array]) -> np.ndarray:
    """Returns `view` at `count` places of each domain, `[domains, count, …]`, as a constant."""
    places = np.tile((np.arange(count) * (LOOP / count)).astype(np.float32), len(DOMAINS))
    scenes = np.repeat(np.arange(len(DOMAINS), dtype=np.int32), count)
    with jax.ensure_compile_time_eval():
        drawn = jax.jit(lambda places, scenes: jax.lax.map(lambda each: view(*each), (places, scenes), batch_size=64))
        seen = np.asarray(drawn(places, scenes))
    return seen.reshape(len(DOMAINS), count, *seen.shape[1:])


@functools.cache
def _views() -> np.ndarray:
    """Returns `[domains * places, pixels]`: the grey dry view without a car at places of the loop."""

    def view(along: Scalar, scene: Scalar) -> jax.Array:
        nothing = jnp.float32(0.0)
        seen = dataclasses.replace(look(scene), rain=nothing)
        return _grey(draw(_COARSE, along, jnp.float32(_NOWHERE), nothing, nothing, seen))

    return _along_the_loop(_PLACES, view).reshape(-1, _COARSE**2)


@functools.cache
def _scene_rule() -> tuple[np.ndarray, np.ndarray]:
    """Returns weights `[features, domains]` and offsets `[domains]` of the linear rule of the nearest domain."""
    features = _along_the_loop(96, lambda along, scene: _blocks(_draw_point(_COARSE, _typical(along), look(scene))))
    means = features.mean(axis=1)
    away = (features - means[:, None]).reshape(-1, means.shape[-1])
    spread = away.T @ away / len(away) + 3e-4 * np.eye(means.shape[-1])
    weights = np.linalg.solve(spread, means.T)
    return weights.astype(np.float32), (-0.5 * np.sum(means.T * weights, axis=0)).astype(np.float32)


def _read(light: Frame, scene: Scalar, gap: tuple[float, float], side: float) -> jax.Array:
    """Returns the point `[4]`: place, inverse gap, side and rain."""
    coarse = _shrunk(light, _COARSE)
    size = min(light.shape[0], _FINE)
    seen = look(scene)
    point = _guess(coarse, scene, seen, gap)
    low = np.array((-np.inf, 1.0 / gap[1], -side, -np.inf), np.float32)
    high = np.array((np.inf, 1.0 / gap[0], side, np.inf), np.float32)

    def towards(point: jax.Array, missed: jax.Array, inverse: jax.Array) -> jax.Array:
        return jnp.clip(point + jnp.clip(inverse @ missed.ravel(), -_STRIDE, _STRIDE), low, high)

    drawn, inverse = _slopes(point, seen, _COARSE)
    point = towards(point, coarse - drawn, inverse)
    drawn, inverse = _slopes(point, seen, size)
    point = towards(point, coarse - drawn, inverse)
    # Slopes cost most, and are still good for a last step.
    return towards(point, coarse - _shrunk(_draw_point(size, point, seen), _COARSE), inverse)


def _shrunk(light: Frame, most: int) -> Frame:
    """Returns a frame of at most `most` pixels a side, each the mean of the pixels that it covers."""
    size = light.shape[0]
    if size <= most:
        return light
    edges = np.arange(size + 1) / size * most
    part = np.minimum(edges[1:], np.arange(1, most + 1)[:, None]) - np.maximum(edges[:-1], np.arange(most)[:, None])
    part = np.maximum(part, 0.0).astype(np.float32)
    return jnp.einsum("yh,hwc,xw->yxc", part, light, part)


def _blocks(coarse: Frame) -> jax.Array:
    part = _COARSE // _BLOCKS
    return jnp.mean(coarse.reshape(_BLOCKS, part, _BLOCKS, part, 3), axis=(1, 3)).ravel()


def _grey(light: Frame) -> jax.Array:
    return jnp.mean(light, axis=-1).ravel()


def _scene(coarse: Frame) -> Scalar:
    weights, offsets = _scene_rule()
    return jnp.argmax(_blocks(coarse) @ weights + offsets).astype(jnp.int32)


def _guess(coarse: Frame, scene: Scalar, seen: Look, gap: tuple[float, float]) -> jax.Array:
    """Returns a first point `[4]`: place, inverse gap, side and rain."""
    rain = _rain(coarse)
    dry = coarse - seen.rain * falling(_COARSE, rain)[..., None]
    inverse, middle = _car(dry, gap)
    along = _place(_grey(dry), _seen_past(inverse, middle).ravel(), scene)
    side = (middle - bend(along, 1.0 / inverse)) / inverse
    return jnp.stack([along, inverse, jnp.clip(side, -0.3, 0.3), rain])


def _rain(coarse: Frame) -> Scalar:
    """Returns the phase that the streaks agree on best."""
    columns, phase = streaks(_COARSE)
    # Wide shapes are light in all columns alike: they do not count.
    lines = jnp.mean(coarse, axis=-1) @ (columns - np.mean(columns, axis=1, keepdims=True)).T
    turns = 2.0 * np.pi * phase.T
    cos, sin = jnp.sum(lines * np.cos(turns)), jnp.sum(lines * np.sin(turns))
    return jnp.mod(jnp.arctan2(sin, cos) / (2.0 * np.pi), 1.0)


def _car(coarse: Frame, gap: tuple[float, float]) -> tuple[Scalar, Scalar]:
    """Returns the inverse gap of the car, and the place of its middle, `u`."""
    v, u = down(_COARSE), across(_COARSE)
    red = jnp.maximum(coarse[..., 0] - jnp.maximum(coarse[..., 1], coarse[..., 2]) - 0.04, 0.0)
    red = red * (v > HORIZON - 0.06).astype(np.float32)[:, None]
    total = jnp.sum(red) + 1e-4
    middle = jnp.sum(red * u[None]) / total
    low = (jnp.sum(red * v[:, None]) + 1e-4 * 0.5) / total
    # By regression on drawn frames; the middle of what is red is a little below that of the car.
    inverse = 3.16 * (low - HORIZON) - 0.02
    return jnp.clip(inverse, 1.0 / gap[1], 1.0 / gap[0]), jnp.clip(middle, -1.0, 1.0)


def _seen_past(inverse: Scalar, middle: Scalar) -> jax.Array:
    """Returns weights `[h, w]` of the pixels that the car does not hide."""
    v = down(_COARSE)
    wide = jnp.abs(across(_COARSE) - middle) < 0.55 * inverse + 0.06
    top, base = row_of(1.1, 1.0 / inverse), row_of(-0.1, 1.0 / inverse)
    high = (v > top - 0.04) & (v < base + 0.04)
    return jnp.where(high[:, None] & wide[None], 0.0, 1.0)


def _place(dry: jax.Array, weight: jax.Array, scene: Scalar) -> Scalar:
    """Returns the place whose view is nearest, between views by a parabola through three distances."""
    views = _views()
    # One product with the views of all domains is cheaper than to fetch those of one for each frame.
    away = np.square(views) @ weight - 2.0 * (views @ (weight * dry))
    away = away.reshape(len(DOMAINS), _PLACES)[scene]
    best = jnp.argmin(away).astype(jnp.int32)
    before, here, after = (away[(best + step) % _PLACES] for step in (-1, 0, 1))
    lean = 0.5 * (before - after) / jnp.maximum(before - 2.0 * here + after, 1e-9)
    return (best.astype(jnp.float32) + jnp.clip(lean, -0.5, 0.5)) * (LOOP / _PLACES)


def _slopes(point: jax.Array, seen: Look, size: int) -> tuple[Frame, jax.Array]:
    """Returns the view of a point, drawn at a size and shrunk, and `(JᵀJ + λ)⁻¹ Jᵀ` `[4, pixels]`."""
    # Differences: five drawings cost less than one and its derivatives.
    points = point[None] + np.concatenate([np.zeros((1, 4), np.float32), np.diag(_NUDGE)])
    drawn = jax.vmap(lambda point: _shrunk(_draw_point(size, point, seen), _COARSE))(points)
    slopes = ((drawn[1:] - drawn[:1]) / _NUDGE[:, None, None, None]).reshape(4, -1)
    damped = slopes @ slopes.T + _DAMPING * np.eye(4, dtype=np.float32)
    return drawn[0], jnp.linalg.solve(damped, slopes)
