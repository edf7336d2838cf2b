"""Remedies that train a second network besides the generator's: critics, denoisers, correctors.

What the second network costs is part of the extra budget, and what it costs while generating is part of a step's
calls.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.comparison.baselines.adversarial import AdversarialSelfForcing
from experiments.comparison.baselines.critic_network import window_critic
from experiments.comparison.baselines.mmd import KernelSelfForcing, WindowFeatures
from experiments.comparison.method import registered
from experiments.comparison.phases import (
    Job,
    extra_flops,
    forward_calls,
    on_task,
    recycle_with,
    spending,
    train_extra,
    tune_with,
)
from experiments.comparison.task import Task, Trained
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.storage import BankState
from recycle_jax.errors.merge import merge
from recycle_jax.errors.rollout.references import Denoised
from recycle_jax.generators.corrected import Corrected, corrector, washing
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.correction import CorrectionFromCases, LeaveAlone
from recycle_jax.histories.denoise import DenoiseWindows
from recycle_jax.histories.mixture import Mixture
from recycle_jax.models.base import Network
from recycle_jax.models.conv import frame_unet
from recycle_jax.models.denoiser import preconditioned
from recycle_jax.models.outputs import clipped, residual
from recycle_jax.sharding import ROLES, place
from recycle_jax.training.cost import Cost, flops_of, harvest_flops
from recycle_jax.training.harvest_step import make_harvest
from recycle_jax.typing import Params

DATA_STD = 0.5
"""Standard deviation of clean frames, as the denoiser assumes it."""

CRITIC_STEPS = 4
"""Generated steps of the windows that critics judge."""

HARVESTS = 64
"""Harvests that fill the bank of a corrector."""


def kernel(weight: float) -> Callable[[Job], Trained]:
    """Rollouts distributed as real windows are, by kernels on fixed features."""

    def run(job: Job) -> Trained:
        features = WindowFeatures()
        share = _share(job.task, features)
        policy = KernelSelfForcing(
            steps=CRITIC_STEPS, weight=weight, critic_share=share, rematerialise=False, features=features
        )
        return tune_with(job, policy, "tune")

    return run


def adversarial(weight: float) -> Callable[[Job], Trained]:
    """The same, by a small discriminator."""

    def run(job: Job) -> Trained:
        frames = job.task.generator.context_frames + CRITIC_STEPS * job.task.generator.chunk_frames
        critic = window_critic(channels=job.task.held_out.shape[2], frames=frames)
        params = critic.init(jax.random.key(0))
        share = _share(job.task, lambda window: critic.apply(params, window))
        policy = AdversarialSelfForcing(
            steps=CRITIC_STEPS, weight=weight, critic_share=share, rematerialise=False, critic=critic
        )
        return tune_with(job, policy, "tune")

    return run


def denoised(job: Job) -> Trained:
    """A third of the extra budget trains a denoiser of windows, the rest recycles with it as reference."""
    windows = _windows(job.task)
    denoiser = train_extra(job, windows, DenoiseWindows(), "denoiser", share=1 / 3)
    reference = Denoised(
        params=denoiser.params, denoise=lambda p, window, level: windows.network.apply(p, window, level, None)
    )
    price = forward_calls(job.task, windows)
    trained = recycle_with(spending(job, 2 / 3), reference, "recycle", reference_flops=price)
    return dataclasses.replace(trained, cost=trained.cost + denoiser.cost)


def washed(job: Job) -> Trained:
    """A third of the extra budget trains a denoiser that cleans every frame, the rest goes to teacher forcing."""
    return _with_washing(job, lambda rest: tune_with(rest, TeacherForcing(), "tune"))


def recycled_and_washed(job: Job) -> Trained:
    """The same, but the rest goes to recycling, whose rollouts are not washed: both remedies, half-hearted each."""
    return _with_washing(job, lambda rest: recycle_with(rest, registered(rest.task), "recycle"))


def _with_washing(job: Job, tune: Callable[[Job], Trained]) -> Trained:
    windows = _windows(job.task)
    denoiser = train_extra(job, windows, DenoiseWindows(), "denoiser", share=1 / 3)
    trained = tune(spending(job, 2 / 3))
    cleaner = washing(windows.network, frames=windows.context_frames)
    generator = Corrected(inner=job.task.generator, cleaner=cleaner)
    params = {"inner": trained.params, "corrector": denoiser.params}
    return dataclasses.replace(trained, params=params, generator=generator, cost=trained.cost + denoiser.cost)


def corrected(job: Job) -> Trained:
    """Another model's harvests, a third of the extra budget for a corrector of its errors, the rest teacher forcing."""
    return _with_corrector(job, *_harvested(job.task, job.base_of(job.seed + 1000).params, job.seed, HARVESTS))


def corrected_shared(job: Job) -> Trained:
    """The same corrector, taught by as many harvests of the other generators and worlds whose frames are of this size.

    None of them is the generator that it cleans; that they exist is not billed, their harvests are.

    Raises:
        ValueError: if no other arena of the contest has frames and context of this size.
    """
    task = job.task
    like = (task.held_out.shape, task.generator.context_frames, task.generator.chunk_frames)
    found = [
        (other, base_of)
        for other, base_of in job.others()
        if (other.held_out.shape, other.generator.context_frames, other.generator.chunk_frames) == like
    ]
    if not found:
        raise ValueError(f"no other generator of {task.world}'s frame size is in this contest: add worlds or kinds")
    harvests = -(-HARVESTS // len(found))
    parts = [_harvested(other, base_of(job.seed).params, job.seed, harvests) for other, base_of in found]
    bank, cases = merge(*(cases for _, cases, _ in parts))
    return _with_corrector(job, bank, cases, sum(spent for _, _, spent in parts))


def at_matched_calls(run: Callable[[Job], Trained]) -> Callable[[Job], Trained]:
    """A corrected flow that gives up one Euler step for its corrector's call."""

    def matched(job: Job) -> Trained:
        flow = job.task.generator
        assert isinstance(flow, RectifiedFlow) and flow.steps > 1
        shorter = dataclasses.replace(flow, steps=flow.steps - 1)
        return run(dataclasses.replace(job, task=dataclasses.replace(job.task, generator=shorter)))

    return matched


def _with_corrector(job: Job, bank: ErrorBank, cases: BankState, spent: float) -> Trained:
    """A third of the extra budget for a corrector of banked cases, the rest of it teacher forcing."""
    task, frames = job.task, job.task.generator.context_frames
    # What it adds to a frame, not the frame: one that has learned little leaves frames as they are.
    network = clipped(residual(_network(task, frames, 1, bounded=False)))
    learner = Predictor(network=network, context_frames=frames)
    policy = Mixture(parts=((1, CorrectionFromCases(bank=bank, cases=cases)), (1, LeaveAlone())))
    taught = train_extra(job, learner, policy, "corrector", share=1 / 3)
    left = 2 / 3 - spent / extra_flops(task)
    if left <= 0.0:
        raise ValueError(
            f"{HARVESTS} harvests cost more than two thirds of the extra budget: raise --config.budget.base"
        )
    trained = tune_with(spending(job, left), TeacherForcing(), "tune")
    generator = Corrected(inner=task.generator, cleaner=corrector(learner))
    params = {"inner": trained.params, "corrector": taught.params}
    cost = trained.cost + taught.cost + Cost(harvest_flops=spent)
    return dataclasses.replace(trained, params=params, generator=generator, cost=cost)


def _harvested(task: Task, params: Params, seed: int, harvests: int) -> tuple[ErrorBank, BankState, float]:
    """Cases of a generator that does not change, with the recipe's reference, and their price."""
    recycling, reference = on_task(task.recycling, task), registered(task)
    harvest, bank = recycling.harvest(task.generator), recycling.bank()
    program = make_harvest(harvest, bank, task.mesh, recycling.harvest_steps)
    source, frames = task.source(seed), harvest.clip_frames(reference)
    first = source.batch(0, recycling.chains, frames)
    chains = place(harvest.start(first), task.mesh, ROLES.rows)
    state = place(bank.init(harvest.entry(source.shape, first.condition)), task.mesh, ROLES.bank)
    for i in range(harvests):
        fresh = place(source.batch(1 + i, recycling.chains, frames), task.mesh, ROLES.rows)
        chains, state, _ = program(params, reference, chains, state, fresh, jax.random.key(seed), jnp.int32(i))
    calls = harvests * recycling.harvest_steps
    price = harvest_flops(task.generator, forward_calls(task, task.generator), 0.0, recycling.chains, calls)
    return bank, state, price


def _windows(task: Task) -> Predictor:
    """A denoiser of windows of a context and a chunk, as large as the generator."""
    frames = task.generator.context_frames + task.generator.chunk_frames
    network = preconditioned(_network(task, frames, frames, bounded=False), DATA_STD)
    return Predictor(network=network, context_frames=frames, chunk_frames=frames)


def _network(task: Task, frames_in: int, frames_out: int, bounded: bool) -> Network:
    net, shape = task.net, task.held_out.shape
    return frame_unet(
        shape=shape,
        context_frames=frames_in,
        chunk_frames=frames_out,
        width=net.width,
        patch=shape[0] // net.tiles,
        levels=net.levels,
        bounded=bounded,
    )


def _share(task: Task, critic: Callable[[jax.Array], Any]) -> float:
    """What a critic costs on one window, in calls of the generator's network."""
    frames = task.generator.context_frames + CRITIC_STEPS * task.generator.chunk_frames
    window = jnp.zeros((1, frames, *task.held_out.shape))
    return flops_of(critic, window) / forward_calls(task, task.generator)
