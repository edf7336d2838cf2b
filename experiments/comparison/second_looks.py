"""One network for everything: a generator trained with noise is the denoiser of its own rollouts.

A third of the extra budget trains B's network with independent noise on every frame of the history, the rest recycles
with its own second look as reference (`errors.reconsidered`): no simulator, no clip and no other network, at the price
of one step a harvested step. Who looks may be the network as that first third left it, as it is now, or averaged.
"""

import dataclasses
from collections.abc import Callable

from experiments.comparison.phases import THIRD_PHASE, Job, forward_calls, recycle_with, spending, tune_with
from experiments.comparison.task import Trained, gate_of
from recycle_jax.errors.reconsidered import Reconsidered
from recycle_jax.generators.context_noise import second_look
from recycle_jax.histories.diffusion_forcing import DiffusionForcing
from recycle_jax.training.ema import ema_params
from recycle_jax.training.loop import Renew
from recycle_jax.training.state import TrainState

LEVEL = 0.1
"""Standard deviation of the noise that rollouts are looked at through."""


def newest(reference: Reconsidered, train: TrainState) -> Reconsidered:
    """The parameters in training look."""
    return dataclasses.replace(reference, params=train.params)


def average(reference: Reconsidered, train: TrainState) -> Reconsidered:
    """Their moving average looks, the one that is handed out."""
    return dataclasses.replace(reference, params=ema_params(train))


def reconsidered(who: Renew | None) -> Callable[[Job], Trained]:
    """See the module docstring; None leaves who looks as it was when recycling began."""

    def run(job: Job) -> Trained:
        task = job.task
        forced = tune_with(spending(job, 1 / 3), DiffusionForcing(most=2 * LEVEL), "forced")
        later = dataclasses.replace(spending(job, 2 / 3), start=lambda: forced, first_batch=THIRD_PHASE)
        reference = Reconsidered(
            params=forced.params, look=second_look(task.generator, LEVEL), gate=gate_of(task.choices)
        )
        price = task.generator.calls_per_step * forward_calls(task, task.generator)
        return recycle_with(later, reference, "recycle", reference_flops=price, renew=who)

    return run
