"""Reading the few parameters of a smooth picture by templates.

A drawing `f(θ)` is drawn once on a grid of parameters. In the principal components `B` of those
templates, with mean `μ`, features `x` have the code `z = Bᵀ (x - μ)`. From each of the nearest templates
`θ_k`, of code `z_k` and tangent `G_k = Bᵀ ∂f/∂θ`, one Gauss-Newton step is taken within its cell,

    δ_k = clip(G_k⁺ (z - z_k), -cell, cell)                                                 (1)

and `θ_k + δ_k` of the least `|z - z_k - G_k δ_k|` is read: nearness alone would prefer a template that is
wrong in a parameter that changes few pixels to one that is a little off in a parameter that changes many.
It costs two small matrix products a frame.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

# Templates drawn at a time: bounds the memory of large frames.
_BATCH = 64
_CANDIDATES = 16


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Templates:
    """Templates of a drawing, as constants of the programs that read with them.

    Attributes:
        points: `[g, p]` float32, the parameters of each template.
        cell: `[p]` float32, how far from its template a reading may lie.
        mean: `[d]` float32, the mean template.
        basis: `[d, k]` float32, principal components.
        codes: `[g, k]` float32.
        tangents: `[g, k, p]` float32.
        steps: `[g, p, k]` float32, pseudo-inverses of the tangents.
    """

    points: np.ndarray
    cell: np.ndarray
    mean: np.ndarray
    basis: np.ndarray
    codes: np.ndarray
    tangents: np.ndarray
    steps: np.ndarray

    def read(self, features: jax.Array) -> jax.Array:
        """Returns the parameters `[p]` of the drawing nearest to features `[d]`."""
        code = (features - self.mean) @ self.basis
        gaps = 0.5 * np.sum(np.square(self.codes), axis=-1) - self.codes @ code
        nearest = jax.lax.top_k(-gaps, min(_CANDIDATES, gaps.shape[0]))[1]
        away = code[None] - jnp.asarray(self.codes)[nearest]
        step = jnp.einsum("gpk,gk->gp", jnp.asarray(self.steps)[nearest], away)
        step = jnp.clip(step, -self.cell[None], self.cell[None])
        left = away - jnp.einsum("gkp,gp->gk", jnp.asarray(self.tangents)[nearest], step)
        best = jnp.argmin(jnp.sum(jnp.square(left), axis=-1)).astype(jnp.int32)
        return jnp.asarray(self.points)[nearest[best]] + step[best]


def make_templates(draw: Callable[[jax.Array], jax.Array], grid: Sequence[np.ndarray], components: int) -> Templates:
    """Draws the templates.

    Args:
        draw: parameters `[p]` to features `[d]`, differentiable.
        grid: the values of each parameter, equally spaced.
        components: principal components kept.

    Returns:
        The templates, as numpy arrays even where this is called while a program is being traced.
    """
    points = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, len(grid)).astype(np.float32)
    # A reading may reach a little past the middle between two templates, so that cells overlap.
    cell = np.array([0.75 * (values[1] - values[0]) for values in grid], np.float32)
    with jax.ensure_compile_time_eval():
        drawn = _over(points, lambda point: draw(point))
        mean, basis = _principal(drawn, components)
        tangents = _over(points, lambda point: basis.T @ jax.jacfwd(draw)(point))
    return Templates(
        points=points,
        cell=cell,
        mean=mean,
        basis=basis,
        codes=(drawn - mean) @ basis,
        tangents=tangents,
        steps=np.linalg.pinv(tangents).astype(np.float32),
    )


def _over(points: np.ndarray, function: Callable[[jax.Array], jax.Array]) -> np.ndarray:
    return np.asarray(jax.jit(lambda points: jax.lax.map(function, points, batch_size=_BATCH))(points))


def _principal(drawn: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    mean = drawn.mean(axis=0)
    away = drawn - mean
    basis = np.linalg.eigh(away.T @ away)[1][:, ::-1][:, :components]
    return mean, np.ascontiguousarray(basis, np.float32)
