"""Error recycling from complete cases: own rollouts of any age, met again as history.

Own-sample: context and target of one case together, ``loss(f(context~), target)``.
"""

import dataclasses

import jax
import jax.numpy as jnp

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.bank.draws import DrawRule
from recycle_jax.errors.one_step.inject import require_probability
from recycle_jax.errors.rollout.harvest import Case
from recycle_jax.generators.base import Generator, clean_example, split_clip
from recycle_jax.histories.base import Drawn, ExamplePolicy, choose_rows
from recycle_jax.histories.noise import noisy_context
from recycle_jax.typing import Frames, Params, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayCases(ExamplePolicy):
    """Erroneous context and the target that consistently continues it, both from one case, under its condition.

    Attributes:
        bank: whose cases are drawn, any slot.
        noise: white noise up to this standard deviation is added to the context, its level told to the network;
            0 adds none.
        rule: how cases are drawn, `AnySlot` or one of `errors.bank.draws`, whose weights keep the loss unbiased.
        repair_prob: probability that a frame of the context is the reference's version of it, each frame for itself:
            errors that come and go from frame to frame, under the same target.

    Raises:
        ValueError: if `repair_prob` is no probability.
    """

    bank: ErrorBank
    noise: float = 0.0
    rule: AnySlot | DrawRule = AnySlot()
    repair_prob: float = 0.0

    def __post_init__(self) -> None:
        require_probability("repair_prob", self.repair_prob)

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """Cases where the bank has them, clean rows elsewhere."""
        del params
        of_fit, of_draw, of_level, of_noise, of_repair = rng.split_rows(keys, 5)
        drawn = self.bank.draw(bank, of_draw, self.rule)
        case, found = drawn.entries, drawn.found
        context, x0 = split_clip(batch.clip, generator.context_frames, generator.chunk_frames)
        context = choose_rows(found, self._history(case, of_repair).astype(context.dtype), context)
        level = jnp.zeros(len(keys), jnp.float32)
        if self.noise:
            level = rng.uniform_rows(of_level, 0.0, self.noise)
            context = noisy_context(context, level, of_noise)
        target = choose_rows(found, case.target.astype(x0.dtype), x0)
        condition = jax.tree.map(lambda own, other: choose_rows(found, own, other), case.condition, batch.condition)
        weight = jnp.ones_like(level) if drawn.weight is None else drawn.weight
        changes = {"context": context, "x0": target, "level": level, "condition": condition, "weight": weight}
        example = clean_example(generator, batch, of_fit, **changes)
        return Drawn(example=example, clean=jnp.logical_not(found), found=found)

    def _history(self, case: Case, keys: RowKeys) -> Frames:
        """The context, some of its frames repaired."""
        if not self.repair_prob:
            return case.context
        *_, of_repair = rng.split_rows(keys, 3)  # the last of three, so that draws stay those of published runs
        clean = case.clean_context.astype(jnp.float32)
        error = case.context.astype(jnp.float32) - clean
        frames = case.context.shape[1]
        repaired = jax.vmap(lambda key: jax.random.bernoulli(key, self.repair_prob, (frames,)))(of_repair)
        error = jnp.where(repaired[:, :, None, None, None], 0.0, error)
        return jnp.clip(clean + error, -1.0, 1.0)
