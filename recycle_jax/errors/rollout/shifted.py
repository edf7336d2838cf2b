"""Reference `shifted`: the recorded clip, moved as a whole onto the rollout by phase correlation.

`errors.rollout.registered` linearises, so that it holds for displacements of a pixel or so. Phase correlation finds any
displacement of the whole frame, from the phases of the Fourier transforms of the generated frame `y` and of the
recorded one `r` (Kuglin and Hines 1975),

    C = F(y) F(r)* / (|F(y) F(r)*| + floor),     p = argmax F^-1(C)                                   (1)

with a parabola through the maximum and its neighbours for the fraction of a pixel, and a frame is moved by turning its
phases, which blurs nothing:

    S(x, p) = F^-1(F(x) exp(-2 pi i k . p)),     target = S(r_next, p_last)                           (2)
    chain     c_new <- S(c_new, -pull p_new)                                                         (3)

`floor` keeps the frequencies that smooth frames do not have from voting. One displacement does for the whole frame: it
is for one thing on an empty ground, or for a camera that moves; where several things part from the recording it is
wrong about all but one. What leaves the frame on one side comes back on the other, so that the gate has to refuse it.
"""

import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.errors.rollout.references import Gate, ReferenceOutput
from recycle_jax.generators.base import slide
from recycle_jax.typing import Frames, RowKeys


@struct.dataclass(kw_only=True)
class Shifted:
    """See the module docstring; all static.

    Attributes:
        reanchor_rate: share of its newest frames' displacement that a chain takes back, in [0, 1]; 0 lets chains run
        free.
        floor: of equation (1), as a share of the largest magnitude, positive.
        gate: which cases are kept, by what is left between context and the moved recorded context.
    """

    reanchor_rate: float = struct.field(pytree_node=False, default=0.5)
    floor: float = struct.field(pytree_node=False, default=0.01)
    gate: Gate = struct.field(pytree_node=False, default=Gate())

    def __post_init__(self) -> None:
        if not 0.0 <= self.reanchor_rate <= 1.0:
            raise ValueError(
                f"reanchor_rate is {self.reanchor_rate}, must be a share in [0, 1]: 0 lets chains run free"
            )
        if not self.floor > 0.0:
            raise ValueError(f"floor is {self.floor}, must be positive: frequencies that are not there have no phase")

    @property
    def reads_clip(self) -> bool:
        """Chains must carry the clip's future."""
        return True

    def __call__(self, context: Frames, chunk: Frames, recorded: Frames, keys: RowKeys) -> ReferenceOutput:
        """Moves the recorded clip onto the context, and the newest frames towards the recorded clip."""
        del keys
        n, t = context.shape[1], chunk.shape[1]
        p = displacement_between(context, recorded[:, :n], self.floor)
        clean_context = shift(recorded[:, :n], p)
        last = jnp.broadcast_to(p[:, -1:], (p.shape[0], t, 2))
        accept, score = self.gate(context, clean_context)
        back = -self.reanchor_rate * displacement_between(chunk, recorded[:, n : n + t], self.floor)
        return ReferenceOutput(
            target=shift(recorded[:, n : n + t], last),
            clean_context=clean_context,
            accept=accept,
            score=score,
            go_on=slide(context, shift(chunk, back)),
        )


def displacement_between(moved: Frames, still: Frames, floor: float) -> Array:
    """Equation (1): by how many pixels down and to the right, `[b, t, 2]` float, `moved` shows what `still` shows.

    Displacements of more than half of the frame count as from the other side.
    """
    cross = (_spectrum(moved) * jnp.conj(_spectrum(still))).sum(axis=-1)
    size = jnp.abs(cross)
    # The constant is for frames in which nothing is to be seen: they get p = 0.
    weight = 1.0 / (size + floor * size.max(axis=(2, 3), keepdims=True) + 1e-12)
    surface = jnp.fft.ifft2(cross * weight.astype(cross.dtype), axes=(2, 3)).real
    height, width = surface.shape[2:]
    best = surface.reshape(*surface.shape[:2], -1).argmax(axis=-1)
    row, column = jnp.divmod(best, width)
    across = jnp.take_along_axis(surface, row[..., None, None], axis=2)[:, :, 0]
    down = jnp.take_along_axis(surface, column[..., None, None], axis=3)[..., 0]
    return jnp.stack([_refined(down, row, height), _refined(across, column, width)], axis=-1)


def shift(frames: Frames, p: Array) -> Frames:
    """Equation (2): frames moved by `p` `[b, t, 2]` pixels down and to the right, periodically, clipped to [-1, 1]."""
    height, width = frames.shape[2:4]
    # The highest frequency of an even size has no sign to turn, so that its cosine is taken: the result is real.
    down = p[..., 0, None, None] * jnp.fft.fftfreq(height)[None, None, :, None]
    across = p[..., 1, None, None] * jnp.fft.fftfreq(width)[None, None, None, :]
    turns = down + across
    turned = jnp.fft.fft2(frames, axes=(2, 3)) * jnp.exp(-2j * jnp.pi * turns.astype(jnp.complex64))[..., None]
    return jnp.clip(jnp.fft.ifft2(turned, axes=(2, 3)).real, -1.0, 1.0)


def _spectrum(frames: Frames) -> Array:
    """Of frames without their mean, so that brightness does not count as a pattern."""
    return jnp.fft.fft2(frames - frames.mean(axis=(2, 3), keepdims=True), axes=(2, 3))


def _refined(line: Array, at: Array, size: int) -> Array:
    """The place of a maximum along a periodic line `[b, t, size]`, to a fraction, in [-size / 2, size / 2)."""
    value = lambda i: jnp.take_along_axis(line, (i % size)[..., None], axis=-1)[..., 0]  # noqa: E731
    before, here, after = value(at - 1), value(at), value(at + 1)
    bend = before - 2.0 * here + after
    flat = bend >= 0.0
    fraction = jnp.where(flat, 0.0, 0.5 * (before - after) / jnp.where(flat, -1.0, bend))
    place = at.astype(line.dtype) + jnp.clip(fraction, -0.5, 0.5)
    return jnp.where(place >= size / 2, place - size, place)
