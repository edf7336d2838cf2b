"""Error recycling from complete cases: own rollouts of any age, met again as history.

`ReplayCases` is own-sample: context and target of one case together, ``loss(f(context~), target)``. `AddErrors` is
cross-sample: only the error of a case, ``E = context~ - context_clean``, is put on another clip's clean context,
whose recorded continuation stays the target. Both tell the network that such a history is its own where the generator
does so in rollouts (`generators.provenance`).
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.bank.draws import DrawRule, OwnDomain
from recycle_jax.errors.controls import ErrorTransform
from recycle_jax.errors.one_step.inject import require_probability
from recycle_jax.errors.rollout.harvest import Case
from recycle_jax.errors.rollout.references import displaced
from recycle_jax.generators.base import Generator, clean_example, mean_square, own_level_of, split_clip
from recycle_jax.histories.base import Drawn, ExamplePolicy, choose_rows
from recycle_jax.histories.noise import noisy_context
from recycle_jax.typing import Frames, Params, PyTree, RowKeys, Rows

TINY = 1e-12
"""Keeps a blank case, which no displacement changes, from a division by nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayCases(ExamplePolicy):
    """Erroneous context and the target that consistently continues it, both from one case, under its condition.

    Attributes:
        bank: whose cases are drawn, any slot.
        noise: white noise up to this standard deviation is added to the context, its level told to the network;
            0 adds none.
        error_transform: what errors are turned into, for the controls of `errors.controls`; None leaves them as they
        are.
        rule: how cases are drawn, `AnySlot` or one of `errors.bank.draws`, whose weights keep the loss unbiased.
        weight: of a case in the loss; that of a clean row is 1.
        repair_prob: probability that a frame of the context is the reference's version of it, each frame for itself:
            errors that come and go from frame to frame, under the same target.
        strongest: errors are scaled by `U(0, strongest)`, each frame for itself, under the same target: errors of all
            sizes along the generator's own directions, larger ones than its rollouts hold yet among them; 1 leaves
            them as they are.
        trust: displacement in pixels. A case has its whole weight up to the mean squared distance `d` from its clean
            version that so much displacement makes (`errors.rollout.references.displaced`), and `d / distance` of it
            beyond, as in Huber's loss: the less of a rollout the reference explains, the less its target goes on from
            where the rollout is. None trusts all alike.

    Raises:
        ValueError: if `repair_prob` is no probability, or `strongest` or `trust` not positive.
    """

    bank: ErrorBank
    noise: float = 0.0
    error_transform: ErrorTransform | None = None
    rule: AnySlot | DrawRule = AnySlot()
    weight: float = 1.0
    repair_prob: float = 0.0
    strongest: float = 1.0
    trust: float | None = None

    def __post_init__(self) -> None:
        require_probability("repair_prob", self.repair_prob)
        if self.trust is not None and not self.trust > 0.0:
            raise ValueError(f"trust is {self.trust}, must be positive: None trusts all cases alike")
        if not self.strongest > 0.0:
            raise ValueError(f"strongest is {self.strongest}, must be positive: 1 leaves errors as they are")

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """Cases where the bank has them, clean rows elsewhere."""
        del params
        of_fit, of_draw, of_level, of_noise, of_remake = rng.split_rows(keys, 5)
        case, found, weight = draw_cases(self.bank, bank, of_draw, self.rule)
        context, x0 = split_clip(batch.clip, generator.context_frames, generator.chunk_frames)
        context = choose_rows(found, self._history(case, of_remake).astype(context.dtype), context)
        level = _levels(of_level, self.noise)
        if self.noise:
            context = noisy_context(context, level, of_noise)
        level = level + own_level_of(generator) * found.astype(level.dtype)
        weight = jnp.where(found, self.weight * self._trusted(case) * weight, weight)
        target = choose_rows(found, case.target.astype(x0.dtype), x0)
        condition = jax.tree.map(lambda own, other: choose_rows(found, own, other), case.condition, batch.condition)
        changes = {"context": context, "x0": target, "level": level, "condition": condition, "weight": weight}
        example = clean_example(generator, batch, of_fit, **changes)
        return Drawn(example=example, clean=jnp.logical_not(found), found=found)

    def _trusted(self, case: Case) -> Rows:
        """`[b]` in 0..1, see `trust`."""
        clean = case.clean_context.astype(jnp.float32)
        distance = mean_square(case.context.astype(jnp.float32) - clean)
        if self.trust is None:
            return jnp.ones_like(distance)
        near = displaced(clean, self.trust)
        return near / jnp.maximum(jnp.maximum(distance, near), TINY)

    def _history(self, case: Case, keys: RowKeys) -> Frames:
        """The context with its errors remade, then scaled, then taken from some frames."""
        if self.error_transform is None and self.strongest == 1.0 and not self.repair_prob:
            return case.context
        of_remake, of_strength, of_mending = rng.split_rows(keys, 3)
        clean = case.clean_context.astype(jnp.float32)
        error = case.context.astype(jnp.float32) - clean
        if self.error_transform is not None:
            error = self.error_transform(error, of_remake)
        frames = case.context.shape[1]
        if self.strongest != 1.0:
            strength = jax.vmap(lambda key: jax.random.uniform(key, (frames,), maxval=self.strongest))(of_strength)
            error = strength[:, :, None, None, None] * error
        if self.repair_prob:
            whole = jax.vmap(lambda key: jax.random.bernoulli(key, self.repair_prob, (frames,)))(of_mending)
            error = jnp.where(whole[:, :, None, None, None], 0.0, error)
        return jnp.clip(clean + error, -1.0, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddErrors(ExamplePolicy):
    """A case's error on another clip's clean context.

    Attributes:
        bank: whose cases are drawn, any slot.
        amplitude: factor on the error.
        noise: white noise up to this standard deviation besides, its level told to the network; 0 adds none.
        rule: how cases are drawn, as in `ReplayCases`; or `OwnDomain`, so that errors stay in the domain of the clip.
        weight: of a row with an error in the loss; that of a clean row is 1.
    """

    bank: ErrorBank
    amplitude: float = 1.0
    noise: float = 0.0
    rule: AnySlot | DrawRule | OwnDomain = AnySlot()
    weight: float = 1.0

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The batch with errors on its contexts; rows for which the bank has none stay clean."""
        del params
        of_fit, of_draw, of_level, of_noise = rng.split_rows(keys, 4)
        rule = self.rule.for_rows(batch.domain) if isinstance(self.rule, OwnDomain) else self.rule
        case, found, weight = draw_cases(self.bank, bank, of_draw, rule)
        context, _ = split_clip(batch.clip, generator.context_frames, generator.chunk_frames)
        error = (case.context - case.clean_context).astype(context.dtype)
        injected = choose_rows(found, context + self.amplitude * error, context)
        level = _levels(of_level, self.noise)
        if self.noise:
            injected = noisy_context(injected, level, of_noise)
        level = level + own_level_of(generator) * found.astype(level.dtype)
        weight = jnp.where(found, self.weight * weight, weight)
        example = clean_example(generator, batch, of_fit, context=injected, level=level, weight=weight)
        return Drawn(example=example, clean=jnp.logical_not(found), found=found)


def _levels(keys: RowKeys, most: float) -> Rows:
    """`U(0, most)` `[b]`, zeros where no noise is asked for."""
    return rng.uniform_rows(keys, 0.0, most) if most else jnp.zeros(len(keys), jnp.float32)


def draw_cases(
    bank: ErrorBank,
    state: PyTree,
    keys: RowKeys,
    rule: AnySlot | DrawRule = AnySlot(),  # noqa: B008 (frozen)
) -> tuple[Case, Array, Rows]:
    """`(cases, found [b], weight [b])` of each row's shard; the weights of a uniform draw are 1."""
    drawn = bank.draw(state, keys, rule)
    ones = jnp.ones(len(keys), jnp.float32)
    weight = ones if drawn.weight is None else jnp.where(drawn.found, drawn.weight, ones)
    return drawn.entries, drawn.found, weight
