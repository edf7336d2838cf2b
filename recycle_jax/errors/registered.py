"""Reference `registered`: the recorded clip, moved onto the rollout, while the rollout is kept near the clip.

The recorded clip is the best target there is, sharp and moving as real video moves, but a rollout soon shows
something else: it is late, or further left. Both are brought together from both sides, with the displacements
`J p` of `recycle_jax.errors.registration`:

    target   r_next + J p_last       the recorded next frame, moved as far as the last frame of the context is   (1)
    chain    y - pull J p_y          what the chain goes on with: its chunk, taken back by a share `pull`         (2)

(1) asks for no jump: the target goes on from where the context is, at the recorded speed. (2) leaves all that is
wrong with the frames in the chain, to grow with age as in a free rollout, and holds displacement at about
`(1 - pull) / pull` steps' worth, where (1) is good. Small `pull` lets errors of speed show in the contexts, and so be
corrected; large `pull` keeps targets sharp where displacement is hard to see. Needs no simulator, no learned
reference and no network call; what it needs is recorded clips as long as the oldest age.
"""

import jax.numpy as jnp
from flax import struct

from recycle_jax.errors.references import Gate, Referred
from recycle_jax.errors.registration import Registration, displacement
from recycle_jax.typing import Frames, RowKeys


@struct.dataclass(kw_only=True)
class Registered:
    """See the module docstring; all static.

    Attributes:
        registration: how displacement is fitted.
        pull: share of a chunk's displacement that its chain takes back, in [0, 1].
        gate: which cases are kept, by what is left between context and the moved recorded context.
    """

    registration: Registration = struct.field(pytree_node=False, default=Registration())
    pull: float = struct.field(pytree_node=False, default=0.25)
    gate: Gate = struct.field(pytree_node=False, default=Gate())

    def __post_init__(self) -> None:
        if not 0.0 <= self.pull <= 1.0:
            raise ValueError(f"pull is {self.pull}, must be a share in [0, 1]: 0 lets chains run free")

    @property
    def reads_clip(self) -> bool:
        """Chains must carry the clip's future."""
        return True

    def __call__(self, context: Frames, chunk: Frames, recorded: Frames, keys: RowKeys) -> Referred:
        """Moves the recorded clip onto the context, and the chunk towards the recorded clip."""
        del keys
        n, t = context.shape[1], chunk.shape[1]
        tangents = self.registration.tangents(recorded)
        of_last, of_chunk = tangents[:, n - 1 : n], tangents[:, n : n + t]
        p = self.registration.fit(context[:, -1:] - recorded[:, n - 1 : n], of_last)
        p_everywhere = jnp.broadcast_to(p, (p.shape[0], n + t, *p.shape[2:]))
        moved = jnp.clip(recorded[:, : n + t] + displacement(tangents[:, : n + t], p_everywhere), -1.0, 1.0)
        accept, score = self.gate(context, moved[:, :n])
        p_chunk = self.registration.fit(chunk - recorded[:, n : n + t], of_chunk)
        return Referred(
            target=moved[:, n:],
            clean_context=moved[:, :n],
            accept=accept,
            score=score,
            go_on=jnp.clip(chunk - self.pull * displacement(of_chunk, p_chunk), -1.0, 1.0),
        )
