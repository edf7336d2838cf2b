"""Reference `retrieved`: the real window nearest to the generated one, moved onto it.

A rollout that has left its clip may be near some other clip's. With a library of real windows `w_j` of context and next
chunk, and the displacements `J p` of `recycle_jax.errors.rollout.registration`,

    j       = argmin_j || c - w_j[:n] ||^2                                                          (1)
    target  = w_j[n:] + J p_last                                                                    (2)

so that chains run free, never pulled back and never in need of their clip's future. It is as good as the library is
dense: what (1) leaves over must be small enough for (2), a pixel or so. A search costs `2 m n h w c` FLOPs a row for
`m` windows, `flops_per_row`, which the bill of a harvest counts.
"""

import math

import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.errors.rollout.references import Gate, ReferenceOutput
from recycle_jax.errors.rollout.registration import Registration, displacement
from recycle_jax.typing import Clip, Frames, RowKeys


@struct.dataclass(kw_only=True)
class Retrieved:
    """See the module docstring.

    Attributes:
        windows: `[m, context + chunk, h, w, c]` real video (the only leaf).
        registration: how displacement is fitted (static).
        gate: which cases are kept, by what is left between context and the moved window (static).
    """

    windows: Clip
    registration: Registration = struct.field(pytree_node=False, default=Registration())
    gate: Gate = struct.field(pytree_node=False, default=Gate())

    @property
    def reads_clip(self) -> bool:
        """Needs no recorded future."""
        return False

    def flops_per_row(self, context_frames: int) -> float:
        """What the search of one row costs."""
        return 2.0 * len(self.windows) * context_frames * math.prod(self.windows.shape[2:])

    def __call__(self, context: Frames, chunk: Frames, recorded: Frames, keys: RowKeys) -> ReferenceOutput:
        """Looks up and moves.

        Raises:
            ValueError: if windows are not as long as context and chunk together.
        """
        del recorded, keys
        n, t = context.shape[1], chunk.shape[1]
        if self.windows.shape[1] != n + t:
            raise ValueError(
                f"windows have {self.windows.shape[1]} frames, but context and chunk have {n} + {t}: "
                f"cut windows of {n + t}"
            )
        found = self.windows[self._nearest(context)]
        tangents = self.registration.tangents(found)
        p = self.registration.fit(context - found[:, :n], tangents[:, :n])
        clean_context = jnp.clip(found[:, :n] + displacement(tangents[:, :n], p), -1.0, 1.0)
        last = jnp.broadcast_to(p[:, -1:], (*p.shape[:1], t, *p.shape[2:]))
        target = jnp.clip(found[:, n:] + displacement(tangents[:, n:], last), -1.0, 1.0)
        accept, score = self.gate(context, clean_context)
        return ReferenceOutput(target=target, clean_context=clean_context, accept=accept, score=score)

    def _nearest(self, context: Frames) -> Array:
        """Equation (1), `[b]`, by one matrix product: `||c||^2` is the same for all windows."""
        library = self.windows[:, : context.shape[1]].reshape(len(self.windows), -1)
        seen = context.reshape(len(context), -1)
        return jnp.argmin(jnp.sum(jnp.square(library), axis=1)[None] - 2.0 * seen @ library.T, axis=1)
