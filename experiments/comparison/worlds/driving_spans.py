"""Perspective in closed form, and pictures painted row by row from spans.

With `u` in [-1, 1] across the frame and `v` in [0, 1] down it, a point `X` to the right of the camera,
`Y` camera heights above the road and at depth `z` is seen at

    u = X / z + b(z)      v = V + D (1 - Y) / z      V + D = 1                              (1)

so that lengths count in depths of the nearest visible road. The road winds with curvature
`w k sin(k s)` at place `s`, `k = 2π / LOOP`; integrated twice from the camera on, it is seen to bend by

    b(z) = w [cos ks - (sin k(s + z) - sin ks) / kz]      b(∞) = w cos ks                    (2)

In each row of pixels a shape lies between two places `u`: a span. One formula then covers road, trees,
walls and cars, and which part of a pixel lies in a span is exact.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from recycle_jax.typing import Scalar

LOOP = 25.6
HORIZON, DROP = 0.4, 0.6
WIND = 0.4
_FAR = 40.0
# Tables and grids are numpy arrays, so that they are constants wherever a frame is drawn.
Array = jax.Array | np.ndarray


@struct.dataclass(kw_only=True)
class Spans:
    """Shapes to be painted in this order.

    Attributes:
        left: `[n, h]` float32, left edge in each row, in `u`.
        right: `[n, h]` float32, right edge; where it is left of the left edge, there is nothing.
        soft: `[n, h]` float32, over how much of `u` an oblique edge runs within a row; 0 where upright.
        rows: `[n, h]` float32, which part of each row the shape is in.
        colour: `[n, 3]` float32.
    """

    left: Array
    right: Array
    soft: Array
    rows: Array
    colour: Array


def bend(along: Scalar, depth: Array) -> jax.Array:
    """Returns how far right the road's direction is seen at each depth (equation 2)."""
    k = 2.0 * np.pi / LOOP
    here, there = k * along, k * (along + depth)
    return WIND * (jnp.cos(here) - (jnp.sin(there) - jnp.sin(here)) / (k * depth))


def row_of(height: float | Array, depth: Array) -> jax.Array:
    """Returns `v` of a height at a depth (equation 1)."""
    return jnp.asarray(HORIZON + DROP * (1.0 - height) / depth)


def across(size: int) -> np.ndarray:
    """Returns `u` of the columns, `[w]`."""
    return ((np.arange(size) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)


def down(size: int) -> np.ndarray:
    """Returns `v` of the rows, `[h]`."""
    return ((np.arange(size) + 0.5) / size).astype(np.float32)


def ground_depth(size: int, offset: float = 0.0) -> np.ndarray:
    """Returns the depth `[h]` of the ground in each row, `offset` rows below its middle."""
    below = np.maximum(down(size) + offset / size - HORIZON, DROP / _FAR)
    return (DROP / below).astype(np.float32)


def between(size: int, top: Array, base: Array) -> jax.Array:
    """Returns which part of each row lies between two heights `[..., 1]` of `v`, as `[..., h]`."""
    v = down(size).reshape((1,) * (top.ndim - 1) + (size,))
    above, below = (jnp.clip((edge - v) * size + 0.5, 0.0, 1.0) for edge in (top, base))
    return below - above


def marks(size: int, along: Scalar, period: float) -> jax.Array:
    """Returns which part of each row `[h]` is on marks, half of each period: the mean over its depths."""

    def marked(depth: np.ndarray) -> jax.Array:
        turns = (along + depth) / period
        whole = jnp.floor(turns)
        return 0.5 * whole + jnp.minimum(turns - whole, 0.5)

    far, near = ground_depth(size, -0.5), ground_depth(size, 0.5)
    return (marked(far) - marked(near)) * period / np.maximum(far - near, 1e-3)


def cover(left: Array, right: Array, soft: Array, size: int) -> jax.Array:
    """Returns which part of each pixel lies between edges `[h]`, as `[h, w]`."""
    scale = 1.0 / jnp.maximum(soft, 2.0 / size)
    return _cover(left * scale + 0.5, right * scale + 0.5, scale, across(size))


def paint(picture: jax.Array, spans: Spans) -> jax.Array:
    """Paints spans over a picture `[3, h, w]`.

    A scan, and not a loop written out: compiled as one expression, every pixel would work out again all
    that is common to its row.
    """
    u = across(size := picture.shape[-1])
    scale = 1.0 / jnp.maximum(spans.soft, 2.0 / size)

    def one(under: jax.Array, span: tuple[Array, ...]) -> tuple[jax.Array, None]:
        left, right, scale, rows, colour = span
        return over(under, rows[:, None] * _cover(left, right, scale, u), colour[:, None, None]), None

    edges = (spans.left * scale + 0.5, spans.right * scale + 0.5, scale)
    return jax.lax.scan(one, picture, (*edges, spans.rows, spans.colour))[0]


def over(picture: jax.Array, part: Array, colour: Array) -> jax.Array:
    """Lays `part` `[h, w]` of a colour, `[3, 1 or h, 1 or w]`, over a picture `[3, h, w]`."""
    return picture + part[None] * (colour - picture)


def _cover(left: Array, right: Array, scale: Array, u: np.ndarray) -> jax.Array:
    place = scale[:, None] * u[None]
    part = jnp.clip(right[:, None] - place, 0.0, 1.0) - jnp.clip(left[:, None] - place, 0.0, 1.0)
    return jnp.maximum(part, 0.0)
