"""Error recycling from one-step residuals: errors of the correction pass itself, injected into later passes.

Nothing is rolled out. Every training pass leaves its residual in the bank and draws residuals of earlier
passes, of other clips (`errors.one_step.algebra` for what they mean, `errors.one_step.inject` for where they go):

    data, noise   slot-aligned: an entry of the row's own noise level, or of any level
    context       an entry of any slot, uniform over entries, within a window of ages; random frames of it

The bank warms up by itself: a row that finds nothing stays clean and is counted. A row writes its residual
unless all of its gates were closed, on purpose or by chance; of those only a share writes, since errors of
error-free inputs "contaminate the buffer" (development log of Stable Video Infinity, 2025-10-21).
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from recycle_jax import flow_matching as fm
from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.bank.bank import Drawn as DrawnEntries
from recycle_jax.errors.bank.slots import OneSlot, SlotMap
from recycle_jax.errors.one_step.algebra import ResidualEntry, context_error, noise_error
from recycle_jax.errors.one_step.inject import Errors, Gates, GateSample, flip, inject, require_probability
from recycle_jax.generators.base import Example, Generator, clean_example
from recycle_jax.histories.base import Aux, Drawn, ExamplePolicy
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowInts, RowKeys, Scalar, Sigma

OLDEST = 2**31 - 1
"""No limit of age."""


class _Keys(NamedTuple):
    """One `[b]` key for each thing that a row draws; `loss` and `record` split the same row keys."""

    fit: RowKeys
    gates: RowKeys
    data: RowKeys
    noise: RowKeys
    context: RowKeys
    window: RowKeys
    write: RowKeys

    @classmethod
    def of(cls, keys: RowKeys) -> "_Keys":
        return cls(*rng.split_rows(keys, len(cls._fields)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneStepErrors(ExamplePolicy):
    """Injects banked one-step errors; `one_step` and the presets of `histories.svi` make the usual ones.

    Errors are cross-sample by nature: a row's own residual is only known after its pass.

    Attributes:
        bank: where residuals are kept, made with `ResidualEntry.entry`; as many slots as `slots` has.
        slots: which slot a residual belongs to: `NoiseSlots` for flows, `OneSlot`, `AgeSlots` for predictors.
        gates: how often each error is injected. A gate of probability 0 costs nothing.
        target: velocity asked for under injection; a predictor's target is always the clean chunk.
        aligned: whether data and noise errors are of the row's own slot, else of any slot in the window of ages.
        min_age: smallest age of an error drawn from any slot.
        max_age: largest such age. Ages are told apart only as finely as `slots` does.
        amplitude: factor on all injected errors.
        clean_write: probability that a clean row writes its residual; others always do.
    """

    bank: ErrorBank
    slots: SlotMap = OneSlot()
    gates: Gates = Gates()
    target: fm.Target = fm.paper_target
    aligned: bool = True
    min_age: int = 1
    max_age: int = OLDEST
    amplitude: float = 1.0
    clean_write: float = 0.1

    def __post_init__(self) -> None:
        require_probability("clean_write", self.clean_write)
        if self.bank.slots != self.slots.slots:
            raise ValueError(
                f"the bank has {self.bank.slots} slots, but {self.slots} has {self.slots.slots}: "
                f"make it with slots={self.slots.slots}"
            )
        if not 1 <= self.min_age <= self.max_age:
            raise ValueError(
                f"min_age={self.min_age}, max_age={self.max_age}, but ages need 1 <= min_age <= max_age: use "
                f"min_age=1 for all ages, or raise max_age"
            )
        if self.target is fm.exact_target and not self.aligned:
            raise ValueError(
                "aligned=False with exact_target: errors of another noise level make its pull unbounded; "
                "use ClippedExact(most=…) or aligned=True"
            )

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> PyTree:
        """An empty bank of residuals, of as many shards as the bank has."""
        del shards, key
        height, width, channels = batch.clip.shape[2:]
        return self.bank.init(ResidualEntry.entry(generator.chunk_frames, (height, width, channels)))

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The batch with drawn errors where gates are open and the bank had one."""
        del params
        of = _Keys.of(keys)
        example = clean_example(generator, batch, of.fit, target=self.target)
        wanted = self.gates.draw(of.gates)
        errors, got = self._errors(generator, bank, example, of, wanted)
        return Drawn(example=inject(example, errors, got), clean=~got.any, found=got.any | ~wanted.any)

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """Writes the step's own residuals, each to the slot of its noise level and age."""
        of = _Keys.of(keys)
        wanted = self.gates.draw(of.gates)
        age = self._age(bank, of, wanted)
        entry = ResidualEntry(
            residual=aux.residual,
            sigma=aux.sigma,
            age=age,
            domain=aux.domain,
            step=jnp.full_like(age, step),
        )
        write = is_finite & (wanted.any | flip(of.write, self.clean_write))
        bank = self.bank.insert(bank, entry, self.slots(_row_sigma(aux.sigma), age), write, keys=keys)
        return self.bank.count_empty(bank, is_finite & wanted.any & aux.clean)

    def _errors(
        self, generator: Generator, bank: PyTree, example: Example, of: _Keys, wanted: GateSample
    ) -> tuple[Errors, GateSample]:
        """The errors, and the gates that are open and have something to let through."""
        data, noise, context = None, None, None
        got = wanted
        if self.gates.data > 0.0:
            drawn = self._draw_chunk(bank, of.data, example.sigma)
            data = self.amplitude * generator.to_error(*_residual(drawn))
            got = dataclasses.replace(got, data=wanted.data & drawn.found)
        if self.gates.noise > 0.0:
            drawn = self._draw_chunk(bank, of.noise, example.sigma)
            noise = self.amplitude * noise_error(*_residual(drawn))
            got = dataclasses.replace(got, noise=wanted.noise & drawn.found)
        if self.gates.context > 0.0:
            drawn = self._draw_any(bank, of.context)
            whole = self.amplitude * generator.to_error(*_residual(drawn))
            context = context_error(whole, generator.context_frames, of.window)
            got = dataclasses.replace(got, context=wanted.context & drawn.found)
        return Errors(data=data, noise=noise, context=context), got

    def _draw_chunk(self, bank: PyTree, keys: RowKeys, sigma: Sigma) -> DrawnEntries:
        if not self.aligned:
            return self._draw_any(bank, keys)
        slot = self.slots(_row_sigma(sigma), jnp.ones(len(keys), jnp.int32))
        return self.bank.draw(bank, keys, slot)

    def _draw_any(self, bank: PyTree, keys: RowKeys) -> DrawnEntries:
        return self.bank.draw(bank, keys, AnySlot(allowed=self.slots.allowed(self.min_age, self.max_age)))

    def _age(self, bank: PyTree, of: _Keys, wanted: GateSample) -> RowInts:
        """`[b]`: 1, and on injected contexts the age of what was injected besides."""
        if self.gates.context <= 0.0:
            return jnp.ones(len(of.context), jnp.int32)
        # The same draw as in `examples`, since the bank has not changed; only ages are gathered again.
        drawn = self._draw_any(bank, of.context)
        return 1 + jnp.where(wanted.context & drawn.found, drawn.entries.age, 0)


def one_step(
    *,
    bank: ErrorBank,
    slots: SlotMap = OneSlot(),  # noqa: B008  (a frozen value)
    share: float = 0.5,
    amplitude: float = 1.0,
    min_age: int = 1,
    max_age: int = OLDEST,
    clean_write: float = 0.1,
) -> OneStepErrors:
    """The cheapest recycling: one-step errors on contexts, and on nothing else; for any generator.

    Args:
        bank: made with `ResidualEntry.entry`.
        slots: `OneSlot` for predictors without regard to age, `AgeSlots` with it, `NoiseSlots` for flows.
        share: of rows whose context gets an error.
        amplitude: factor on it.
        min_age: smallest age of an error that is drawn.
        max_age: largest such age.
        clean_write: probability that a clean row writes its residual; others always do.
    """
    return OneStepErrors(
        bank=bank,
        slots=slots,
        gates=Gates(data=0.0, noise=0.0, context=1.0, clean=1.0 - share),
        amplitude=amplitude,
        min_age=min_age,
        max_age=max_age,
        clean_write=clean_write,
    )


def _residual(drawn: DrawnEntries) -> tuple[Frames, Sigma]:
    return drawn.entries.residual.astype(jnp.float32), drawn.entries.sigma


def _row_sigma(sigma: Sigma) -> Array:
    """`[b]`: the level that decides a row's slot."""
    return jnp.mean(sigma, axis=1)
