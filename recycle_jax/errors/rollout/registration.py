"""Displacement: how far a generated frame has moved along the recorded one's own motion.

A rollout that is a little late or a little to the left shows a valid frame, only not the recorded one. To first
order such a frame lies in the tangent space of the recorded frame `r`: with `J = (d_y r, d_x r)` and, where motion
is slow enough for it, `d_t r` besides,

    p   = argmin_p  ||y - r - J p||^2 + ridge ||p||^2 tr(J^T J) / d                                  (1)
    y - r = J p + e                                                                                 (2)

so that `J p` is displacement, which is no mistake, and `e` what is wrong with the frame. `p` has one value a cell of
the frame, in pixels and frames, interpolated between the cells' centres. (1) is one step of image registration by
gradients (Lucas and Kanade 1981) with time as a third direction; it holds for displacements below a pixel or so,
which is why what uses it keeps displacements small. `d_t r` is a central difference, good where

    sum ||r_+ - 2 r + r_-||^2  <=  slowness  sum ||r_+ - r_-||^2                                    (3)

over the clip, and left out (0) elsewhere.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax.typing import Frames


@dataclasses.dataclass(frozen=True, kw_only=True)
class Registration:
    """Fits displacements by equation (1).

    Attributes:
        time: whether frames may also be early or late, in clips whose motion is slow: the central difference in time
            of a thing that moves by more than about a pixel a frame shows it twice.
        slowness: a clip is slow where its second differences in time, squared, are at most this share of its central
            ones (3). Measured: .08 to .25 for a heart of 70 frames a beat, .5 to .9 for balls of 1 to 2 pixels a
            frame.
        cells: cells along height and along width; 1 moves the frame as a whole.
        ridge: of equation (1), a fraction.
    """

    time: bool = True
    slowness: float = 0.4
    cells: int = 1
    ridge: float = 0.01

    def __post_init__(self) -> None:
        if self.cells < 1 or not self.ridge > 0.0:
            raise ValueError(
                f"cells is {self.cells} and ridge {self.ridge}: need at least one cell and a positive ridge, so use "
                f"cells=1 to move frames as a whole, and a ridge such as 0.01"
            )
        if not self.slowness > 0.0:
            raise ValueError(f"slowness is {self.slowness}, must be positive: leave time out with time=False")

    def tangents(self, frames: Frames) -> Array:
        """`J` of every frame, `[b, t, h, w, c, d]` with `d` 2 or 3; one-sided at the ends of clip and frame.

        Raises:
            ValueError: if height or width does not divide into cells.
        """
        if frames.shape[2] % self.cells or frames.shape[3] % self.cells:
            raise ValueError(
                f"frames of {frames.shape[2]} x {frames.shape[3]} pixels do not divide into {self.cells} cells a side: "
                "use a divisor of both"
            )
        along = [jnp.asarray(jnp.gradient(frames, axis=axis)) for axis in (2, 3)]
        if self.time:
            in_time = jnp.asarray(jnp.gradient(frames, axis=1))
            along.append(jnp.where(self._slow(frames), in_time, 0.0))
        return jnp.stack(along, axis=-1)

    def _slow(self, frames: Frames) -> Array:
        """Equation (3), `[b, 1, 1, 1, 1]`; of fewer than three frames nothing is known, and they count as slow."""
        bend = frames[:, 2:] - 2.0 * frames[:, 1:-1] + frames[:, :-2]
        change = frames[:, 2:] - frames[:, :-2]
        total = lambda x: jnp.sum(jnp.square(x), axis=(1, 2, 3, 4), keepdims=True)  # noqa: E731
        return total(bend) <= self.slowness * total(change)

    def fit(self, difference: Frames, tangents: Array) -> Array:
        """`p` of equation (1) at every pixel, `[b, t, h, w, d]`, from `y - r` and `J`."""
        gram = self._pooled(jnp.einsum("bthwci,bthwcj->bthwij", tangents, tangents))
        along = self._pooled(jnp.einsum("bthwci,bthwc->bthwi", tangents, difference))
        d = tangents.shape[-1]
        size = jnp.trace(gram, axis1=-2, axis2=-1)[..., None, None] / d
        # The constant keeps cells in which nothing can be seen solvable: they get p = 0.
        identity = jnp.broadcast_to(jnp.eye(d, dtype=gram.dtype), gram.shape)
        p = jnp.linalg.solve(gram + (self.ridge * size + 1e-6) * identity, along[..., None])[..., 0]
        return jax.image.resize(p, (*difference.shape[:4], d), "linear")

    def _pooled(self, x: Array) -> Array:
        """Sums over cells: `[b, t, h, w, …]` to `[b, t, cells, cells, …]`."""
        b, t, h, w, *rest = x.shape
        n = self.cells
        return x.reshape(b, t, n, h // n, n, w // n, *rest).sum(axis=(3, 5))


def displacement(tangents: Array, p: Array) -> Frames:
    """`J p`, `[b, t, h, w, c]`; `p` may be that of another frame of the same clip."""
    return jnp.einsum("bthwci,bthwi->bthwc", tangents, p)
