"""Training of a separate corrector on banked errors: from a window with errors to its newest frames without.

The corrector C is a generator of its own whose context is a window W and whose chunk are the newest frames of W,
as `generators.corrected` uses it. A harvested case (`errors.rollout.harvest.Case`) tells it what to do,

    C(case.context) -> case.clean_context[-chunk:]                                              (1)

and so any generator's harvest will do, of any world of the same frame size: `errors.merge` puts banks together, and
what was learned from many generators is tried on another.

In a corrected rollout only the newest frames are raw: those before them have been corrected already. So a share of
the rows have the reference's version of the older frames, `[clean_context[:-chunk], context[-chunk:]]`. And a corrector
that finds fault with everything would itself drift: mix with `LeaveAlone`, half and half,

    cases = CorrectionFromCases(bank=bank, cases=state)
    policy = Mixture(parts=((1, cases), (1, LeaveAlone())))
"""

import dataclasses

import jax
import jax.numpy as jnp

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.storage import BankState
from recycle_jax.errors.rollout.harvest import Case
from recycle_jax.generators.base import Example, Generator, clean_example
from recycle_jax.histories.base import Drawn, ExamplePolicy, all_clean, choose_rows, require_frames
from recycle_jax.histories.replay import draw_cases
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys


class _Windows(ExamplePolicy):
    """Examples whose chunk lies inside the context, so that clips need no frame after it."""

    def clip_frames(self, generator: Generator) -> int:
        """A window."""
        return generator.context_frames


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeaveAlone(_Windows):
    """Real windows, of which nothing is to be changed."""

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The first window of every clip, with its own newest frames as target."""
        del params, bank
        window = real_window(generator, batch)
        return all_clean(window_example(generator, batch, window, window[:, -generator.chunk_frames :], keys))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CorrectionFromCases(_Windows):
    """Windows with banked errors, with their newest frames as the reference has them.

    Attributes:
        bank: the shape of the cases' bank, any slot.
        cases: what it holds, harvested before and never changed; it is copied into the training run, once.
        cleaned: share of the rows whose frames before the newest chunk are the reference's as well.
    """

    bank: ErrorBank
    cases: BankState
    cleaned: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.cleaned <= 1.0:
            raise ValueError(f"cleaned is {self.cleaned}, must lie in [0, 1]: it is a share of the rows")

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> PyTree:
        """The cases, as arrays of the run's own: training donates them."""
        del generator, batch, shards, key
        return jax.tree.map(jnp.copy, self.cases)

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """Cases under their own condition, and real windows where the row's shard has none."""
        del params
        of_fit, of_draw, of_cleaned = rng.split_rows(keys, 3)
        case, found, _ = draw_cases(self.bank, bank, of_draw)
        real, chunk = real_window(generator, batch), generator.chunk_frames
        _require_same_frames(case, real)
        clean = choose_rows(found, case.clean_context.astype(real.dtype), real)
        window = choose_rows(found, case.context.astype(real.dtype), real)
        half = jnp.concatenate([clean[:, :-chunk], window[:, -chunk:]], axis=1)
        window = choose_rows(rng.uniform_rows(of_cleaned) < self.cleaned, half, window)
        condition = jax.tree.map(lambda own, other: choose_rows(found, own, other), case.condition, batch.condition)
        there = dataclasses.replace(batch, condition=condition)
        example = window_example(generator, there, window, clean[:, -chunk:], of_fit)
        return Drawn(example=example, clean=jnp.logical_not(found), found=found)


def real_window(generator: Generator, batch: Batch) -> Frames:
    """The first `context_frames` frames of every clip; ValueError where clips are shorter."""
    require_frames(batch, generator.context_frames, "a corrector's window", "lower context_frames")
    return batch.clip[:, : generator.context_frames]


def window_example(generator: Generator, batch: Batch, window: Frames, target: Frames, keys: RowKeys) -> Example:
    """The example that asks for `target` `[b, chunk, h, w, c]` given `window` `[b, context, h, w, c]`."""
    clip = jnp.concatenate([window, target], axis=1)
    return clean_example(generator, dataclasses.replace(batch, clip=clip), keys)


def _require_same_frames(case: Case, real: Frames) -> None:
    if case.context.shape != real.shape:
        raise ValueError(
            f"cases have windows of {case.context.shape[1:]}, but the corrector and its clips of {real.shape[1:]} "
            f"(frames, height, width, channels): give it their context_frames and frame size"
        )
