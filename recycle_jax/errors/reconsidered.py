"""Reference `reconsidered`: the generator's own second look at a context, through noise.

A network that was trained on noised histories and told their level (Diffusion Forcing, arXiv 2407.01392; noise
augmentation, arXiv 2408.14837) is a denoiser of histories: shown `c + sigma eps` and told `sigma` it predicts what
follows *some* real context near `c`, and errors smaller than the noise are drowned in it. So the same network, or an
average of it, can say what its own rollout should be followed by,

    target  = mean over draws of G(c + sigma eps_i | sigma)                                         (1)

at the price of one step a draw, with no other network and no recorded future. Who looks is in `params`: those of a
trained generator, which stay, or those of the run itself, newest or averaged, which `recycle_phase(renew=...)` puts in
before every harvest. A mean teacher (arXiv 1703.01780) is the closest relative. A reference is told no condition, so
that generators whose network needs one are not served.

The context itself is not cleaned, since a generator makes no history: the score is how far the second look is from the
first, and the chain goes on by the first.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.errors.rollout.references import Gate, ReferenceOutput
from recycle_jax.typing import Frames, Params, RowKeys

SecondLook = Callable[[Params, Frames, RowKeys], Frames]
"""`(params, context [b, n, h, w, c], keys [b]) -> chunk [b, t, h, w, c]`."""


@struct.dataclass(kw_only=True)
class Reconsidered:
    """See the module docstring.

    Attributes:
        params: of who looks (the only leaves).
        look: equation (1) for one draw, such as `generators.context_noise.second_look` (static).
        draws: how many are averaged, at least 1 (static).
        gate: which cases are kept, by the distance between first and second look (static).
    """

    params: Params
    look: SecondLook = struct.field(pytree_node=False)
    draws: int = struct.field(pytree_node=False, default=1)
    gate: Gate = struct.field(pytree_node=False, default=Gate())

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws is {self.draws}, but a second look is at least 1: raise it")

    @property
    def reads_clip(self) -> bool:
        """Needs no recorded future."""
        return False

    def __call__(self, context: Frames, chunk: Frames, recorded: Frames, keys: RowKeys) -> ReferenceOutput:
        """Looks once more."""
        del recorded

        def drawn(i: Array) -> Frames:
            return self.look(self.params, context, jax.vmap(jax.random.fold_in, (0, None))(keys, i))

        target = jnp.mean(jax.lax.map(drawn, jnp.arange(self.draws, dtype=jnp.int32)), axis=0)
        accept, score = self.gate(chunk, target)
        return ReferenceOutput(target=target, clean_context=context, accept=accept, score=score)
