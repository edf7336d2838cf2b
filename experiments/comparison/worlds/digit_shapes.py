"""Handwritten digits as smooth drawings that can stand at any sub-pixel place.

The shapes are examples of the optical recognition data set that scikit-learn bundles (8×8 cells of ink). A
cell is `κ` pixels wide, and with ink `g_ij` about the centroid `(i*, j*)`, a digit at `(p_x, p_y)` shines with

    a(y, x) = s(Σ_ij K((y - p_y)/κ - i + i*) g_ij K((x - p_x)/κ - j + j*))                  (1)

where `K` is the cubic convolution kernel, which passes through the cells, and `s` a smooth step that brings
the strokes out; where cells are small, a pixel averages several samples. The sum is two small matrix products,
and `a` has a continuous derivative in `p`.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

CLASSES = 10
_CELLS = 8
# Ink at which light begins and at which it is full.
_DARK, _FULL = 0.25, 0.9
# The cell, in pixels, from which one sample a pixel will do.
_WIDEST_SAMPLE = 1.25


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Shapes:
    """Handwritten digits, as constants of the programs that draw them. Places are `(x, y)`, in cells.

    Attributes:
        ink: `[k, 8, 8]` float32, in [0, 1].
        label: `[k]` int32, which digit each shape is, 0 to 9.
        centre: `[k, 2]` float32, centroid of the ink, from the middle of the first cell.
        before: `[k, 2]` float32, how far the strokes reach to the left of the centroid and above it.
        after: `[k, 2]` float32, how far they reach to its right and below it.
    """

    ink: np.ndarray
    label: np.ndarray
    centre: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def draw(self, shape: jax.Array, position: jax.Array, cell: float, size: int) -> jax.Array:
        """Draws one digit (equation 1).

        Args:
            shape: `[]` int32, which one.
            position: `[2]` float32, `(x, y)` of the centroid of its ink, pixels.
            cell: width of a cell, pixels.
            size: height and width of the picture.

        Returns:
            `[size, size]` light in [0, 1].
        """
        samples = samples_per_pixel(cell)
        places = (jnp.arange(size * samples, dtype=jnp.float32) + 0.5) / samples
        away = (places[None] - position[:, None]) / cell + jnp.asarray(self.centre)[shape][:, None]
        across, down = _cubic(away[:, :, None] - np.arange(_CELLS, dtype=np.float32)[None, None])
        level = down @ jnp.asarray(self.ink)[shape] @ across.T
        level = jnp.clip((level - _DARK) / (_FULL - _DARK), 0.0, 1.0)
        light = jnp.square(level) * (3.0 - 2.0 * level)
        return jnp.mean(light.reshape(size, samples, size, samples), axis=(1, 3))


@functools.lru_cache(maxsize=16)
def load_shapes(count: int) -> Shapes:
    """Chooses `count` shapes, the classes 0 to 9 in turn; fewer shapes are the first of more.

    Raises:
        ImportError: where scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "handwritten digits come with scikit-learn: run `pip install 'recycle_jax[digits]'`"
        ) from error
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, _CELLS, _CELLS).astype(np.float32) / 16.0
    each = -(-count // CLASSES)
    chosen = np.stack([_clear_examples(images[labels == label], each) for label in range(CLASSES)], axis=1)
    return _measured(chosen.reshape(-1, _CELLS, _CELLS)[:count], np.arange(count, dtype=np.int32) % CLASSES)


def _clear_examples(images: np.ndarray, count: int) -> np.ndarray:
    """Returns examples near the mean of their class, so that they read well, that differ among themselves."""
    order = np.argsort(np.sum(np.square(images - images.mean(axis=0)), axis=(1, 2)), kind="stable")
    images = images[order[: max(len(images) // 3, count)]]
    chosen = [0]
    gap = np.full(len(images), np.inf)
    while len(chosen) < count:
        gap = np.minimum(gap, np.sum(np.square(images - images[chosen[-1]]), axis=(1, 2)))
        chosen.append(int(np.argmax(gap)))
    return images[chosen]


def _measured(ink: np.ndarray, label: np.ndarray) -> Shapes:
    cells = np.arange(_CELLS, dtype=np.float32)
    mass = ink.sum(axis=(1, 2))
    centre = np.stack([ink.sum(axis=1) @ cells / mass, ink.sum(axis=2) @ cells / mass], axis=-1)
    # A stroke goes dark three quarters of a cell beyond the middle of the last cell that has one.
    lit = np.stack([ink.max(axis=1), ink.max(axis=2)], axis=1) > _DARK
    first, last = lit.argmax(axis=-1), _CELLS - 1 - lit[..., ::-1].argmax(axis=-1)
    before, after = (centre - first + 0.75).astype(np.float32), (last - centre + 0.75).astype(np.float32)
    return Shapes(ink=ink, label=label, centre=centre, before=before, after=after)


def samples_per_pixel(cell: float) -> int:
    """Returns how many samples, along each axis, a pixel averages: enough that small digits do not flicker."""
    return int(np.ceil(_WIDEST_SAMPLE / cell))


def _cubic(x: jax.Array) -> jax.Array:
    """Returns the kernel of cubic convolution with slope parameter -1/2: 1 at 0, 0 at all other integers."""
    x = jnp.minimum(jnp.abs(x), 2.0)
    near = (1.5 * x - 2.5) * jnp.square(x) + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return jnp.where(x < 1.0, near, far)
