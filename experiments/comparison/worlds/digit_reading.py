"""Reading which digit a picture of one digit shows, and where to a small part of a pixel.

The picture, blurred to the size of a digit, is brightest about it; the centroid of the light near that place is
within a pixel or so of the digit's. A patch about it is compared with templates of every shape at places at
most one pixel apart (`templates`), and the place that they read is refined on the patch by Gauss-Newton steps.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.comparison.worlds.digit_shapes import Shapes, load_shapes, samples_per_pixel
from experiments.comparison.worlds.templates import Templates, make_templates
from recycle_jax.typing import Scalar

_COMPONENTS = 64
_REFINEMENTS = 2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DigitReader:
    """Reads pictures of one digit.

    Attributes:
        shapes: the shapes that are told apart.
        templates: of patches, with parameters `(shape, x, y)`, the place from the middle of the patch.
        cell: width of a cell, pixels.
        patch: height and width of a patch, pixels; even.
    """

    shapes: Shapes
    templates: Templates
    cell: float
    patch: int

    def read(self, picture: jax.Array) -> tuple[Scalar, jax.Array]:
        """Reads a `[size, size]` picture of light in [0, 1]: the shape, int32, and its place `[2]`, pixels."""
        corner = jnp.round(self._locate(picture)).astype(jnp.int32) - self.patch // 2
        padded = jnp.pad(picture, self.patch)
        start = jnp.clip(corner + self.patch, 0, picture.shape[0] + self.patch)
        patch = jax.lax.dynamic_slice(padded, (start[1], start[0]), (self.patch, self.patch))
        found = self.templates.read(patch.ravel())
        shape, place = jnp.round(found[0]).astype(jnp.int32), found[1:] + self.patch / 2
        for _ in range(_REFINEMENTS):
            place = self._refine(patch, shape, place)
        return shape, place + corner.astype(jnp.float32)

    def _locate(self, picture: jax.Array) -> jax.Array:
        """Returns the centroid `[2]` of the light about the brightest place."""
        size = picture.shape[0]
        places = np.arange(size, dtype=np.float32) + 0.5
        blur = np.exp(-0.5 * ((places[:, None] - places[None, :]) / (2.0 * self.cell)) ** 2)
        peak = jnp.argmax(blur @ picture @ blur).astype(jnp.int32)
        centre = jnp.stack([peak % size, peak // size]).astype(jnp.float32) + 0.5
        for _ in range(2):
            near = jnp.clip(self.patch / 2 + 0.5 - jnp.abs(places[None] - centre[:, None]), 0.0, 1.0)
            columns, rows = (near[1] @ picture) * near[0], (picture @ near[0]) * near[1]
            moment = jnp.stack([columns @ places, rows @ places])
            # Where there is no light, the centre stays.
            centre = (moment + 1e-3 * centre) / (jnp.sum(columns) + 1e-3)
        return centre

    def _refine(self, patch: jax.Array, shape: Scalar, place: jax.Array) -> jax.Array:
        def draw(place: jax.Array) -> jax.Array:
            return self.shapes.draw(shape, place, self.cell, self.patch).ravel()

        drawn, along = jax.linearize(draw, place)
        slopes = jax.vmap(along)(jnp.eye(2))
        (xx, xy), (_, yy) = slopes @ slopes.T
        x, y = slopes @ (patch.ravel() - drawn)
        step = jnp.stack([yy * x - xy * y, xx * y - xy * x]) / (xx * yy - xy * xy + 1e-6)
        return place + jnp.clip(step, -0.5, 0.5)


@functools.lru_cache(maxsize=16)
def make_reader(count: int, cell: float) -> DigitReader:
    """Returns the reader of the first `count` shapes, at least 2, in cells of `cell` pixels."""
    shapes = load_shapes(count)
    # The farthest stroke, at the farthest offset that templates reach.
    patch = 2 * int(np.ceil(cell * max(shapes.before.max(), shapes.after.max()) + 1.5))

    def draw(point: jax.Array) -> jax.Array:
        return shapes.draw(jnp.round(point[0]).astype(jnp.int32), point[1:] + patch / 2, cell, patch).ravel()

    # Strokes of small digits are as thin as a pixel: from one template to the next they must overlap.
    offsets = np.linspace(-1.0, 1.0, 2 * samples_per_pixel(cell) + 1)
    grid = (np.arange(count, dtype=np.float32), offsets, offsets)
    templates = make_templates(draw, grid, components=_COMPONENTS)
    return DigitReader(shapes=shapes, templates=templates, cell=cell, patch=patch)
