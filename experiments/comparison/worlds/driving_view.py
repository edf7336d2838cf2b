"""What is seen through the windscreen: ground, sky, scenery, the car ahead, lamps and rain.

Far hills or roofs turn with the camera; marks, posts and what stands beside the road repeat in lengths
that divide `LOOP`. Everything is painted from the farthest to the nearest; see `driving_spans` for how.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.comparison.worlds.driving_palette import Look, Things
from experiments.comparison.worlds.driving_spans import (
    DROP,
    HORIZON,
    LOOP,
    WIND,
    Array,
    Spans,
    across,
    bend,
    between,
    cover,
    down,
    ground_depth,
    marks,
    over,
    paint,
    row_of,
)
from recycle_jax.typing import Frame, Scalar

DASH = 1.6
_SLOT, _SLOTS = 3.2, 5
_EDGE = 1.5  # half the width of the road
_LANE = 0.75  # the camera drives in the middle of the right lane
_NEAR = 0.3  # nearer, all that stands beside the road is out of view
_STREAKS, _FALL = 12, 1.5
_HANDS = np.array([[-1.0, 1.0]], np.float32)
# Left, right, base and top of the parts of a car, in the order of painting.
_CAR = np.array(
    [
        (-0.50, 0.50, -0.08, 0.16),
        (-0.45, 0.45, 0.12, 0.62),
        (-0.36, 0.36, 0.62, 1.02),
        (-0.30, 0.30, 0.64, 0.92),
        (-0.43, -0.25, 0.36, 0.54),
        (0.25, 0.43, 0.36, 0.54),
    ],
    np.float32,
)


def draw(size: int, along: Scalar, gap: Scalar, side: Scalar, rain: Scalar, seen: Look) -> Frame:
    """Draws one frame.

    Args:
        size: height and width in pixels.
        along: place on the loop.
        gap: depth of the car ahead.
        side: how far it is right of the middle of the lane.
        rain: phase of the rain.
        seen: what its domain looks like.

    Returns:
        `[size, size, 3]` float32 light in [0, 1].
    """
    above = np.clip((HORIZON - down(size)) * size + 0.5, 0.0, 1.0)[:, None]
    picture = over(_ground(size, along, seen), jnp.broadcast_to(above, (size, size)), _sky(size, along, seen))
    scenery, glow = _scenery(size, along, seen)
    car = _car(size, along, gap, side, seen)
    picture = paint(picture, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), scenery, car))
    light = glow[None] * seen.lamp[:, None, None] + (seen.rain * falling(size, rain))[None]
    return jnp.moveaxis(jnp.clip(picture + light, 0.0, 1.0), 0, -1)


def streaks(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the columns `[m, w]` of light and the phases `[m, h]`, in cycles, of the streaks of rain."""
    order = np.arange(_STREAKS)[:, None]
    place = 2.0 * (order + 0.5 + 0.6 * (np.mod(order * 0.618, 1.0) - 0.5)) / _STREAKS - 1.0
    width = max(0.044, 1.1 / size)
    columns = np.exp(-0.5 * ((across(size)[None] - place) / width) ** 2)
    phase = _FALL * down(size)[None] + np.mod(order * 2.674, 1.0)
    # What is wider is as much fainter.
    return (columns * (0.044 / width)).astype(np.float32), phase.astype(np.float32)


def falling(size: int, rain: Scalar) -> jax.Array:
    """Returns the light `[h, w]` of the rain."""
    columns, phase = streaks(size)
    pulse = jnp.square(jnp.maximum(jnp.cos(2.0 * np.pi * (phase - rain)), 0.0))
    return pulse.T @ columns


def _ground(size: int, along: Scalar, seen: Look) -> jax.Array:
    """Draws verges, road and lines, `[3, h, w]`, as if there were ground above the horizon too."""
    depth = ground_depth(size)
    centre = bend(along, depth)

    def strip(left: float, right: float) -> jax.Array:
        # Far from the camera's lane an edge crosses several pixels in a row.
        soft = np.full(size, abs((left + right) / 2.0 - _LANE) / (DROP * size), np.float32)
        return cover((left - _LANE) / depth + centre, (right - _LANE) / depth + centre, soft, size)

    bands = marks(size, along, _SLOT)[None, :, None]
    verge = seen.verge[0][:, None, None] * (1.0 - bands) + seen.verge[1][:, None, None] * bands
    picture = over(jnp.broadcast_to(verge, (3, size, size)), strip(-_EDGE, _EDGE), seen.road[:, None, None])
    dashes = marks(size, along, DASH)[:, None]
    lines = (strip(-_EDGE, 0.14 - _EDGE) + strip(_EDGE - 0.14, _EDGE)) * (1.0 - seen.kerb * dashes)
    picture = over(picture, lines + strip(-0.09, 0.09) * dashes, seen.line[:, None, None])
    lit = seen.ambient + seen.beam * _beam(depth)[:, None] * np.exp(-np.square(across(size) * 1.1))[None]
    return _hazed(picture * lit[None], depth[None, :, None], seen.fog[:, None, None], seen)


def _sky(size: int, along: Scalar, seen: Look) -> jax.Array:
    """Draws the sky, and before it the far hills or roofs."""
    high = np.clip(down(size) / HORIZON, 0.0, 1.0)[None, :, None]
    sky = seen.sky[0][:, None, None] * (1.0 - high) + seen.sky[1][:, None, None] * high
    turn = across(size) - WIND * jnp.cos(2.0 * np.pi / LOOP * along)
    waves = jnp.sin(turn[:, None] * seen.far_waves[None, :, 0] + seen.far_waves[None, :, 1])
    top = HORIZON - seen.far_height * (1.0 + waves @ seen.far_waves[:, 2])
    part = jnp.clip((down(size)[:, None] - top[None]) * size + 0.5, 0.0, 1.0)
    return over(jnp.broadcast_to(sky, (3, size, size)), part, seen.far[:, None, None])


def _scenery(size: int, along: Scalar, seen: Look) -> tuple[Spans, jax.Array]:
    """Returns what stands beside the road, the farthest first, and the glow `[h, w]` of the lamps."""
    order = jnp.floor(along / _SLOT) + np.arange(_SLOTS - 1, -1, -1, dtype=np.float32)
    depth = order * _SLOT - along
    # What comes into view does so out of nothing.
    shown = jnp.clip(_SLOTS - 1.0 - depth / _SLOT, 0.0, 1.0)[:, None]
    index = jnp.mod(order, LOOP / _SLOT).astype(jnp.int32)
    things = jax.tree.map(lambda leaf: jnp.moveaxis(leaf[:, index], 1, 0), seen.things)
    posts, glow = _posts(size, along, depth, shown, jnp.mod(order, 2.0), seen)
    groups = (_flanks(size, along, depth, things, seen), _faces(size, along, depth, things, seen), posts)
    spans = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *groups)
    spans = dataclasses.replace(spans, rows=spans.rows * shown[..., None])
    return jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), spans), glow


def _faces(size: int, along: Scalar, depth: jax.Array, things: Things, seen: Look) -> Spans:
    """Returns the side of each thing that faces the camera, `[slots, 2, h]`."""
    near = jnp.maximum(depth, _NEAR)[:, None, None]
    width, foot, top, round_off = (x[..., None] for x in (things.width, things.foot, things.top, things.round))
    height = 1.0 + (HORIZON - down(size))[None, None] * near / DROP
    rise = (height - foot) / (top - foot) * 2.0 - 1.0
    crown = 1.0 - round_off * (1.0 - jnp.sqrt(jnp.maximum(1.0 - jnp.square(rise), 1e-3)))
    trunk = jnp.where(rise < 0.0, 1.0 - 0.8 * round_off, 0.0)
    half = 0.5 * width * jnp.maximum(crown, trunk) / near
    middle = _HANDS[..., None] * (things.inner[..., None] + width / 2.0) - _LANE
    axis = middle / near + bend(along, near)
    rows = between(size, row_of(top, near), row_of(0.0, near))
    colour = _hazed(things.colour * _lit(near, seen), near, seen.fog[None, None], seen)
    return Spans(left=axis - half, right=axis + half, soft=jnp.zeros_like(half), rows=rows, colour=colour)


def _flanks(size: int, along: Scalar, depth: jax.Array, things: Things, seen: Look) -> Spans:
    """Returns the walls along the road, `[slots, 2, h]`: each row as far as a wall shows in it."""
    inner = (_HANDS * things.inner - _LANE)[..., None]
    near = jnp.maximum(depth, _NEAR)[:, None, None]
    back = jnp.maximum(depth[:, None] + things.depth, near[..., 0])[..., None]
    below = (down(size) - HORIZON)[None, None]
    # Above the horizon a wall ends where its top, below it where its foot passes the row.
    end = jnp.clip(jnp.where(below > 0.0, 1.0, things.top[..., None] - 1.0) * DROP / (np.abs(below) + 1e-4), near, back)
    one, other = jnp.broadcast_to(inner / near + bend(along, near), end.shape), inner / end + bend(along, end)
    soft = jnp.broadcast_to(jnp.abs(inner) * (0.5 / (DROP * size)), end.shape)
    colour = _hazed(things.colour * seen.flank * _lit(near, seen), near, seen.fog[None, None], seen)
    left, right = jnp.minimum(one, other), jnp.maximum(one, other)
    return Spans(left=left, right=right, soft=soft, rows=jnp.ones_like(left), colour=colour)


def _posts(
    size: int, along: Scalar, depth: jax.Array, shown: jax.Array, odd: jax.Array, seen: Look
) -> tuple[Spans, jax.Array]:
    """Returns the posts, left and right by turns, `[slots, 1, h]`, and the glow `[h, w]` of their heads."""
    near = jnp.maximum(depth, _NEAR)[:, None]
    axis = ((2.0 * odd[:, None] - 1.0) * (_EDGE + 0.25) - _LANE) / near + bend(along, near)
    top = row_of(seen.post_height, near)
    wide = 0.22 / near + 1.0 / size
    columns = jnp.exp(-jnp.square((across(size)[None] - axis) / wide))
    lines = jnp.exp(-jnp.square((down(size)[None] - top) * 2.0 / wide)) * shown
    rows = between(size, top, row_of(0.0, near))[:, None]
    edges = [jnp.broadcast_to((axis + place / near)[..., None], rows.shape) for place in (-0.05, 0.05)]
    colour = _hazed(seen.post[None] * _lit(near, seen), near, seen.fog[None], seen)[:, None]
    spans = Spans(left=edges[0], right=edges[1], soft=jnp.zeros_like(rows), rows=rows, colour=colour)
    return spans, lines.T @ columns


def _car(size: int, along: Scalar, gap: Scalar, side: Scalar, seen: Look) -> Spans:
    """Returns the back of the car ahead: shadow, body, roof, window and lamps."""
    axis = side / gap + bend(along, gap)
    left, right = (jnp.broadcast_to(axis + _CAR[:, edge, None] / gap, (len(_CAR), size)) for edge in (0, 1))
    rows = between(size, row_of(_CAR[:, 3, None], gap), row_of(_CAR[:, 2, None], gap))
    body, window = (_hazed(colour * _lit(gap, seen), gap, seen.fog, seen) for colour in (seen.car, seen.window))
    colour = jnp.stack([0.2 * seen.ambient * seen.road, body, body, window, seen.tail, seen.tail])
    return Spans(left=left, right=right, soft=jnp.zeros_like(left), rows=rows, colour=colour)


def _beam(depth: Array) -> jax.Array:
    """Returns the light of the headlamps at a depth."""
    return jnp.exp(-jnp.square((depth - 1.6) / 3.2))


def _lit(depth: Array, seen: Look) -> jax.Array:
    """Returns the light on what stands at a depth."""
    return jnp.asarray(seen.ambient + 0.6 * seen.beam * _beam(depth))


def _hazed(colour: Array, depth: Array, fog: Array, seen: Look) -> jax.Array:
    """Returns a colour as it is seen through air of the colour `fog`, of the same rank."""
    clear = jnp.exp(-seen.haze * depth)
    return jnp.asarray(fog + clear * (colour - fog))
