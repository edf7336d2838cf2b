"""Stable Video Infinity's error-recycling fine-tuning (arXiv 2510.09212), as its authors run it.

The mechanism is `histories.one_step`; here are the numbers. From the paper (table 9): gates 0.9 on data and on context
errors and 0.01 on noise errors, 0.5 clean rows, 50 slots of 500 entries, and context errors drawn from all slots of
data errors. From the released training scripts only: 0.2 clean rows for Shot, a tenth of the clean rows
writing, shift 5, and the loss weight below. Both ask for the paper's target, clean data and corrupted noise,
and bank `-σ r`.

What differs from the scripts, and why: one bank of residuals serves data, noise and context errors (it holds
the same information); shards of the bank take the place of ranks, and no rows are gathered to warm it up (20
iterations in the paper, 50 in the scripts); errors are put on the whole context, which their first 3
conditioning latents cover, and where a chunk is shorter than the context its error is repeated, so that it
displaces what moves and never bends how; a row whose gates all stay closed by chance counts as clean when it is
asked to write; all rows of a batch are compared with the bank as it was before the insert. The variants' other
differences, padding with a reference frame and the number of motion frames, belong to the
generator.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.replacement import Nearest
from recycle_jax.errors.bank.slots import NoiseSlots, OneSlot, SlotMap
from recycle_jax.errors.one_step.algebra import entry_error
from recycle_jax.errors.one_step.inject import Gates
from recycle_jax.flow_matching import TIME_SCALE, paper_target, shift_sigma
from recycle_jax.histories.one_step import OneStepErrors

_DATA_NOISE_CONTEXT = (0.9, 0.01, 0.9)
_PAPER_SLOTS = NoiseSlots(steps=50, shift=5.0)


def svi_shot(*, capacity: int = 500, shards: int = 1, slots: SlotMap = _PAPER_SLOTS) -> OneStepErrors:
    """SVI-Shot, one continuing scene: 0.2 clean rows (scripts; the paper's table has 0.5 for all variants).

    Args:
        capacity: entries a slot of a shard. Under the documented data sizes 500 is never reached: 32 to 128
            do the same.
        shards: logical shards of the bank, in place of the scripts' ranks.
        slots: `OneSlot()` for a deterministic predictor, which takes context errors only.
    """
    return _svi(0.2, capacity, shards, slots)


def svi_film(*, capacity: int = 500, shards: int = 1, slots: SlotMap = _PAPER_SLOTS) -> OneStepErrors:
    """SVI-Film, a stream of scenes: 0.5 clean rows (paper and scripts). Arguments as in `svi_shot`."""
    return _svi(0.5, capacity, shards, slots)


def _svi(clean: float, capacity: int, shards: int, slots: SlotMap) -> OneStepErrors:
    data, noise, context = _DATA_NOISE_CONTEXT
    if isinstance(slots, OneSlot):
        # A predictor sees neither: an open gate would pass for an error that was injected.
        data, noise = 0.0, 0.0
    return OneStepErrors(
        bank=ErrorBank(shards=shards, slots=slots.slots, capacity=capacity, replacement=Nearest(key=entry_error)),
        slots=slots,
        gates=Gates(data=data, noise=noise, context=context, clean=clean),
        target=paper_target,
        aligned=True,
        clean_write=0.1,
    )


def svi_weight(sigma: Array) -> Array:
    """The scripts' loss weight, for `RectifiedFlow(weight=svi_weight, shift=5.0)`; the paper has none.

    With `y(t) = exp(-2 ((t - 500) / 1000)^2)` it is `y - min y`, divided by its mean over the 1000 timesteps
    `t = 1000 σ'` of the schedule of shift 5; 0 at pure noise, 2.08 at the middle.
    """
    even = jnp.asarray(np.linspace(1.0, 0.0, 1001)[:-1], jnp.float32)
    bells = _bell(shift_sigma(even, 5.0))
    return (_bell(sigma) - bells.min()) / (bells.mean() - bells.min())


def _bell(sigma: Array) -> Array:
    return jnp.exp(-2.0 * jnp.square((TIME_SCALE * sigma - 500.0) / 1000.0))
