"""A codebook of patches: frames made of finitely many pieces.

`quantise` puts the nearest code in the place of each patch. Around every code lies a dead zone, its Voronoi cell: an
error that stays inside it vanishes, one that leaves it becomes a whole step. Codes are the means of k-means (Lloyd's
iteration) over patches of real frames, started with patches that are far from each other (each drawn with probability
proportional to its squared distance from the nearest one before it). Source of its use on histories: FramePack, arXiv
2504.12626, with 128 codes over latent pixels (`patch=1`).
"""

import functools

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.typing import Frames, PRNGKey


@struct.dataclass(kw_only=True, eq=False)  # compared, and hashed for jit, by identity
class Codebook:
    """The codes.

    Attributes:
        codes: `[codes, patch * patch * c]` float32, frame units.
        patch: side of the square patches (static); 1 for pixels.
    """

    codes: Array
    patch: int = struct.field(pytree_node=False, default=1)


def quantise(codebook: Codebook, frames: Frames) -> Frames:
    """Frames of codes only; a frame of codes comes back as it is, to rounding. No gradient passes.

    Raises:
        ValueError: if frames do not fit the codebook.
    """
    patches = cut(frames, codebook.patch)
    if patches.shape[-1] != codebook.codes.shape[1]:
        raise ValueError(
            f"patches of {codebook.patch} x {codebook.patch} x {frames.shape[-1]} = {patches.shape[-1]} numbers do not "
            f"fit codes of {codebook.codes.shape[1]}: make the codebook from frames with {frames.shape[-1]} channels"
        )
    nearest = _nearest(patches.reshape(-1, patches.shape[-1]), codebook.codes)
    codes = codebook.codes.astype(frames.dtype)[nearest].reshape(patches.shape)
    return jax.lax.stop_gradient(_paste(codes, codebook.patch))


def make_codebook(
    clips: Frames, key: PRNGKey, *, codes: int = 128, patch: int = 1, iterations: int = 20, patches: int = 8192
) -> Codebook:
    """Codes of real frames; the same for the same arguments.

    Args:
        clips: `[b, t, h, w, c]` real frames.
        key: draws patches and the first codes.
        codes: how many.
        patch: side of a patch; must divide height and width.
        iterations: of k-means.
        patches: how many patches are drawn from the clips, at most.

    Raises:
        ValueError: if there are fewer patches than codes.
    """
    every = cut(clips, patch).reshape(-1, patch * patch * clips.shape[-1])
    if min(len(every), patches) < codes or codes < 1:
        raise ValueError(
            f"codes is {codes}, must lie in 1..{min(len(every), patches)}, the number of patches: give more clips or "
            f"fewer codes"
        )
    return Codebook(codes=_k_means(every, key, codes, iterations, min(len(every), patches)), patch=patch)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _k_means(every: Array, key: PRNGKey, codes: int, iterations: int, patches: int) -> Array:
    of_sample, of_start = jax.random.split(key)
    sample = jax.random.choice(of_sample, every, (patches,), replace=False)
    start = _far_apart(sample, of_start, codes)
    return jax.lax.fori_loop(0, iterations, lambda _, centres: _lloyd(sample, centres), start)


def _far_apart(sample: Array, key: PRNGKey, codes: int) -> Array:
    """`[codes, d]` of the `[n, d]` patches."""

    def draw(nearest: Array, key: PRNGKey) -> tuple[Array, Array]:
        chosen = sample[jax.random.categorical(key, jnp.log(nearest))]
        return jnp.minimum(nearest, _distances(sample, chosen[None])[:, 0]), chosen

    # All alike at first; what was drawn is at distance 0, log probability -inf, and is not drawn again.
    _, chosen = jax.lax.scan(draw, jnp.ones(len(sample), sample.dtype), jax.random.split(key, codes))
    return chosen


def _lloyd(sample: Array, centres: Array) -> Array:
    """Means of the patches nearest to each centre; a centre without any stays."""
    owner = jnp.argmin(_distances(sample, centres), axis=1)
    total = jax.ops.segment_sum(sample, owner, len(centres))
    count = jax.ops.segment_sum(jnp.ones(len(sample), sample.dtype), owner, len(centres))[:, None]
    return jnp.where(count > 0.0, total / jnp.maximum(count, 1.0), centres)


def _nearest(patches: Array, codes: Array) -> Array:
    """`[n, d]` and `[k, d]` to `[n]` places of the nearest codes, which are those of largest `p·c − |c|² / 2`.

    One product of matrices in place of `n · k` differences, which take five times as long on a CPU. Frames differ from
    their codes by little, so that both are measured from the middle of the codes, to lose the fewest digits.
    """
    middle = codes.mean(axis=0, keepdims=True)
    codes, patches = (codes - middle).astype(patches.dtype), patches - middle.astype(patches.dtype)
    along = jnp.dot(patches, codes.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.argmax(along - 0.5 * jnp.sum(jnp.square(codes), axis=1)[None, :], axis=1)


def _distances(patches: Array, codes: Array) -> Array:
    """`[n, d]` and `[k, d]` to `[n, k]` squared distances, exactly 0 for a code itself."""
    return jnp.sum(jnp.square(patches[:, None, :] - codes.astype(patches.dtype)[None, :, :]), axis=2)


def cut(frames: Frames, patch: int) -> Array:
    """`[b, t, h, w, c]` to `[b, t, h / patch, w / patch, patch * patch * c]`.

    Raises:
        ValueError: if `patch` does not divide height and width.
    """
    b, t, h, w, c = frames.shape
    if h % patch or w % patch:
        raise ValueError(f"patch is {patch}, but must divide frames of {h} x {w}: use a divisor of both")
    tiles = frames.reshape(b, t, h // patch, patch, w // patch, patch, c)
    return tiles.transpose(0, 1, 2, 4, 3, 5, 6).reshape(b, t, h // patch, w // patch, patch * patch * c)


def _paste(patches: Array, patch: int) -> Frames:
    """The inverse of `cut`."""
    b, t, rows, columns, d = patches.shape
    tiles = patches.reshape(b, t, rows, columns, patch, patch, d // patch**2)
    return tiles.transpose(0, 1, 2, 4, 3, 5, 6).reshape(b, t, rows * patch, columns * patch, -1)
