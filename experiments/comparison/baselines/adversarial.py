"""Self Forcing judged by a small discriminator, which is trained along with the generator.

With scores `D` of windows that begin with the same real context, own ones `x` and real ones `y`,

    generator      mean softplus(-D(x))                                                               (1)
    discriminator  mean softplus(D(x)) + softplus(-D(y)) + penalty/2 (|dD/dx|^2 + |dD/dy|^2)          (2)

The non-saturating loss (Goodfellow et al., arXiv 1406.2661) with gradient penalties on real and on own windows, which
make the game converge near its solution (Mescheder et al., arXiv 1801.04406). Self Forcing (arXiv 2506.08009) offers
a discriminator besides its distillation losses; this one is small and starts from nothing.

The discriminator lives in the policy's memory, a copy a device. Copies start the same and stay the same, since (2) is
averaged over devices before Adam takes its step: one more reduction than other policies make, of the discriminator's
size.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from flax import struct

from experiments.comparison.baselines.critic import SelfForcing
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator
from recycle_jax.histories.base import Aux, Calls
from recycle_jax.sharding import mean_over_data
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys, Scalar


@runtime_checkable
class Critic(Protocol):
    """A network that scores windows (`experiments.comparison.baselines.critic_network.window_critic`), higher where
    they look more real.

    Attributes:
        init: `key -> params`.
        apply: `(params, window [b, t, h, w, c]) -> [b]`, each row from its own window alone.
    """

    @property
    def init(self) -> Any: ...

    @property
    def apply(self) -> Any: ...


@struct.dataclass(kw_only=True)
class CriticState:
    """A discriminator in training; every leaf `[shards, ...]`, the same in all shards.

    Attributes:
        params: float32.
        opt_state: of its Adam.
    """

    params: Params
    opt_state: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialSelfForcing(SelfForcing):
    """Self Forcing by equation (1).

    Attributes:
        critic: the discriminator's network, for windows of `clip_frames` frames.
        penalty: of equation (2).
        learning_rate: of the discriminator's Adam.
        decay: its decay of first moments, low as usual in games.
    """

    critic: Critic
    penalty: float = 1.0
    learning_rate: float = 1e-3
    decay: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.penalty >= 0.0 and self.learning_rate > 0.0):
            raise ValueError(
                f"penalty is {self.penalty} and learning_rate {self.learning_rate}: the first must not be negative, "
                "the second must be positive"
            )

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> CriticState:
        """A fresh discriminator, copied to every shard."""
        del generator, batch
        params = self.critic.init(key)
        state = CriticState(params=params, opt_state=self._adam.init(params))
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (shards, *leaf.shape)), state)

    def criticise(self, memory: PyTree, made: Frames, real: Frames) -> Scalar:
        """Equation (1)."""
        del real
        return jnp.mean(jax.nn.softplus(-self.critic.apply(_first(memory).params, made)))

    def critic_calls(self) -> Calls:
        """(1) once with gradient. (2) for two windows: a gradient by the window, and the gradient of that.

        A penalty's gradient is that of a forward and a backward call, of three forward calls in all; the score's own
        is part of it.
        """
        return Calls(backward=1.0 + 2.0 * 3.0)

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """One step of the discriminator by equation (2); none where the generator's step was not fine."""
        del keys, step
        state = _first(bank)
        gradient = mean_over_data(jax.grad(self.critic_loss)(state.params, *aux.memo))
        # optax mixes weak and strong types: promotion is loosened for this call alone.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = self._adam.update(gradient, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            is_finite = is_finite & jnp.isfinite(optax.global_norm(gradient))
        now = CriticState(params=params, opt_state=opt_state)
        return jax.tree.map(lambda new, old: jnp.where(is_finite, new[None], old), now, bank)

    def critic_loss(self, params: Params, made: Frames, real: Frames) -> Scalar:
        """Equation (2)."""
        of_made, slope_made = self._scored(params, made)
        of_real, slope_real = self._scored(params, real)
        game = jnp.mean(jax.nn.softplus(of_made) + jax.nn.softplus(-of_real))
        return game + 0.5 * self.penalty * jnp.mean(slope_made + slope_real)

    def _scored(self, params: Params, windows: Frames) -> tuple[Any, Any]:
        """Scores `[b]` and the squared norms `[b]` of their gradients by the window."""
        scores, pull = jax.vjp(lambda w: self.critic.apply(params, w), windows)
        (slope,) = pull(jnp.ones_like(scores))
        return scores, jnp.sum(jnp.square(slope), axis=(1, 2, 3, 4))

    @property
    def _adam(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate, b1=self.decay, b2=0.99)


def _first(memory: CriticState) -> CriticState:
    """One of the copies, which are all the same."""
    return jax.tree.map(lambda leaf: leaf[0], memory)
