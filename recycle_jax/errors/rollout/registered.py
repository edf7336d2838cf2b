"""Reference `registered`: the recorded clip, moved onto the rollout, while the rollout is kept near the clip.

The recorded clip is the best target there is, sharp and moving as real video moves, but a rollout soon shows
something else: it is late, or further left. Both are brought together from both sides, with the displacements
`J p` of `recycle_jax.errors.rollout.registration`:

    target    r_next + J (p_last + carried (p_last - p_before))     the recorded next frame, moved           (1)
    chain     c_new - pull J p_new                                  its newest frames, moved back            (2)
              c_old + J (p_old' - p_old)                            its older frames, see `velocity_damping`
              (3) p_new' - p_old' = (1 - brake) (p_new - p_old)

(1) asks for no jump: the target goes on from where the context is, at the recorded speed or, as far as `velocity_carry`
says, at the context's own. (2) takes displacement away and leaves in the chain whatever else is wrong with its frames,
to grow with age as in a free rollout; displacement is held at about `(1 - pull) / pull` steps' slip, where (1) is good.
By (2) alone a chain soon shows the recorded speed again, whatever the generator's own is, and a generator that slows
down over hundreds of frames never meets slow contexts. (3) moves the older frames along, so that a wrong speed fades
only by `velocity_damping` a step. Too small a `velocity_damping` lets speeds wander so far from the recorded ones that
(1) asks for what the context does not tell.

Needs no simulator, no learned reference and no network call; what it needs is recorded clips as long as the oldest age.
"""

import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.errors.rollout.references import Gate, ReferenceOutput
from recycle_jax.errors.rollout.registration import Registration, displacement
from recycle_jax.generators.base import slide
from recycle_jax.typing import Frames, RowKeys


@struct.dataclass(kw_only=True)
class Registered:
    """See the module docstring; all static.

    Attributes:
        registration: how displacement is fitted.
        reanchor_rate: share of its newest frames' displacement that a chain takes back, in [0, 1].
        velocity_damping: share of its change of displacement that a chain's context takes back, in [0, 1]; None to move
            each frame once only, when it is new, by (2).
        velocity_carry: share of the context's own change of displacement that the target goes on with, in [0, 1]; with
            1 speeds are kept as they are, mistakes and all, with 0 they are the recorded ones.
        gate: which cases are kept, by what is left between context and the moved recorded context.
    """

    registration: Registration = struct.field(pytree_node=False, default=Registration())
    reanchor_rate: float = struct.field(pytree_node=False, default=0.25)
    velocity_damping: float | None = struct.field(pytree_node=False, default=None)
    velocity_carry: float = struct.field(pytree_node=False, default=0.0)
    gate: Gate = struct.field(pytree_node=False, default=Gate())

    def __post_init__(self) -> None:
        if not 0.0 <= self.reanchor_rate <= 1.0:
            raise ValueError(
                f"reanchor_rate is {self.reanchor_rate}, must be a share in [0, 1]: 0 lets chains run free"
            )
        if not 0.0 <= self.velocity_carry <= 1.0:
            raise ValueError(
                f"velocity_carry is {self.velocity_carry}, must be a share in [0, 1]: 0 asks for recorded speeds"
            )
        if self.velocity_damping is not None and not 0.0 <= self.velocity_damping <= 1.0:
            raise ValueError(f"velocity_damping is {self.velocity_damping}, must be None or lie in [0, 1]")

    @property
    def reads_clip(self) -> bool:
        """Chains must carry the clip's future."""
        return True

    def __call__(self, context: Frames, chunk: Frames, recorded: Frames, keys: RowKeys) -> ReferenceOutput:
        """Moves the recorded clip onto the context, and the next context towards the recorded clip.

        Raises:
            ValueError: if a speed is to be carried and the context has one frame.
        """
        del keys
        n, t = context.shape[1], chunk.shape[1]
        if self.velocity_carry and n < 2:
            raise ValueError(f"velocity_carry is {self.velocity_carry}, but one context frame shows no speed: use 0")
        tangents = self.registration.tangents(recorded)
        p = self.registration.fit(context - recorded[:, :n], tangents[:, :n])
        target = _moved(recorded[:, n : n + t], tangents[:, n : n + t], self._onward(p, t))
        clean_context = _moved(recorded[:, :n], tangents[:, :n], p)
        accept, score = self.gate(context, clean_context)
        return ReferenceOutput(
            target=target,
            clean_context=clean_context,
            accept=accept,
            score=score,
            go_on=self._pulled(slide(context, chunk), t, recorded[:, t : n + t], tangents[:, t : n + t]),
        )

    def _onward(self, p: Array, new: int) -> Array:
        """Displacement of the `new` next frames, equation (1)."""
        if not self.velocity_carry:
            return p[:, -1:]
        steps = jnp.arange(1, new + 1, dtype=p.dtype)[None, :, None, None, None]
        return p[:, -1:] + self.velocity_carry * steps * (p[:, -1:] - p[:, -2:-1])

    def _pulled(self, context: Frames, new: int, recorded: Frames, tangents: Array) -> Frames:
        """Equations (2) and (3); the last `new` frames are the chain's newest."""
        p = self.registration.fit(context - recorded, tangents)
        if self.velocity_damping is None:
            made_now = (jnp.arange(context.shape[1]) >= context.shape[1] - new)[None, :, None, None, None]
            return _moved(context, tangents, jnp.where(made_now, -self.reanchor_rate * p, 0.0))
        newest = p[:, -1:]
        wanted = (1.0 - self.reanchor_rate) * newest - (1.0 - self.velocity_damping) * (newest - p)
        return _moved(context, tangents, wanted - p)


def _moved(frames: Frames, tangents: Array, p: Array) -> Frames:
    """Frames moved by `p`, which may be one for all of them."""
    everywhere = jnp.broadcast_to(p, (p.shape[0], frames.shape[1], *p.shape[2:]))
    return jnp.clip(frames + displacement(tangents, everywhere), -1.0, 1.0)
