"""Self Forcing with a critic that needs no weights: own rollouts, judged as a distribution.

    loss = anchor * teacher-forced loss + weight * critic([context, rollout])                          (1)

From a real context the generator rolls out `steps` chunks, with gradient; a critic compares these windows with the
real ones of the batch. Nothing asks a rollout to follow its own clip: it is to look like some real continuation. The
published loss compares with a large pretrained model's score; here subclasses bring a kernel
(`experiments.comparison.baselines.mmd`) or a small discriminator (`experiments.comparison.baselines.adversarial`).
Source: Self Forcing, arXiv 2506.08009.

What is judged is the window *with* the real context that it continues, since a critic of the continuation alone
cannot see whether it fits. A critic of one batch sees that only as far as contexts resemble each other; the anchor
keeps the generator a conditional one.

As published, the gradient of a chunk stops at its history: it reaches the step that made it. Unlike there, it runs
through all network calls of that step, not through one of them at random. Steps may be rematerialised, so that memory
grows with `steps` only by the frames.
"""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.generators.stepping import take_steps
from recycle_jax.histories.base import Aux, Calls, require_frames, split_loss
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfForcing(abc.ABC):
    """Equation (1); subclasses bring the critic.

    Attributes:
        steps: chunks of a rollout.
        weight: of the critic in the loss, positive.
        anchor: of the teacher-forced loss.
        critic_share: what the critic costs: its FLOPs forward on one window, over those of one call of the
            generator's network on one row (`training.cost.flops_of` and `forward_flops`).
        rematerialise: whether steps are computed again going back; charged also where XLA for CPUs undoes it.
        through_history: whether the gradient of a chunk also runs through the rollout that it follows.
    """

    steps: int
    weight: float
    anchor: float = 1.0
    critic_share: float
    rematerialise: bool = True
    through_history: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, but a rollout has at least 1: use TeacherForcing for 0")
        if not (self.weight > 0.0 and self.anchor >= 0.0 and self.critic_share >= 0.0):
            raise ValueError(
                f"weight is {self.weight}, anchor {self.anchor} and critic_share {self.critic_share}: the first must "
                "be positive and none negative: use TeacherForcing for no critic, and 0 for no anchor or a critic that "
                "is free"
            )

    @abc.abstractmethod
    def criticise(self, memory: PyTree, made: Frames, real: Frames) -> Scalar:
        """How unreal the windows `made` `[b, t, h, w, c]` are; `real` are windows that begin alike."""

    @abc.abstractmethod
    def critic_calls(self) -> Calls:
        """What the critic costs a row, in its own forward calls."""

    def calls(self, generator: Generator) -> Calls:
        """The rollout with gradient and its rematerialisation, the anchor, and the critic."""
        rolled, critic = float(self.steps * generator.calls_per_step), self.critic_calls()
        again = rolled if self.rematerialise else 0.0
        return Calls(
            forward=again + self.critic_share * critic.forward,
            backward=1.0 + rolled + self.critic_share * critic.backward,
        )

    def clip_frames(self, generator: Generator) -> int:
        """As long as the windows."""
        return generator.context_frames + self.steps * generator.chunk_frames

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> PyTree:
        """Remembers nothing."""
        del generator, batch, shards, key

    def loss(
        self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys
    ) -> tuple[Scalar, Aux]:
        """Equation (1); `Aux.memo` holds the windows, made and real."""
        frames = self.clip_frames(generator)
        require_frames(batch, frames, f"windows of {self.steps} generated steps", "lower steps")
        of_fit, of_roll = rng.split_rows(keys, 2)
        example = clean_example(generator, batch, of_fit)
        fit = generator.fit(params, example)
        made, real = self.windows(params, generator, batch, of_roll), batch.clip[:, :frames]
        judged = self.criticise(bank, made, real)
        yes = jnp.ones(len(keys), bool)
        aux = Aux(
            residual=fit.residual,
            sigma=example.sigma,
            clean=yes,
            domain=batch.domain,
            metrics={**split_loss(fit.loss, yes), "critic": judged},
            empty_draws=jnp.int32(0),
            memo=(made, real),
        )
        return self.anchor * jnp.mean(fit.loss) + self.weight * judged, aux

    def windows(self, params: Params, generator: Generator, batch: Batch, keys: RowKeys) -> Frames:
        """Real contexts and what the generator makes of them, `[b, context + steps * chunk, h, w, c]`."""
        context = batch.clip[:, : generator.context_frames]

        def step(carry: Any, i: Array) -> tuple[Any, Frames]:
            history = carry if self.through_history else jax.lax.stop_gradient(carry)
            of_step = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
            return generator.step(params, history, of_step, batch.condition)

        numbers = jnp.arange(self.steps, dtype=jnp.int32)
        body = jax.checkpoint(step) if self.rematerialise else step
        _, chunks = take_steps(body, generator.begin(params, context, batch.condition), numbers)
        rolled = jnp.moveaxis(chunks, 0, 1).reshape(len(keys), -1, *context.shape[2:])
        return jnp.concatenate([context, rolled], axis=1)

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """Leaves the memory as it is."""
        del aux, keys, step, is_finite
        return bank
