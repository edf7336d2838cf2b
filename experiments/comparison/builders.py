"""What makes a method of a policy, a generator, a reference or settings, for the table of
`experiments.comparison.methods`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.comparison.baselines.adversarial import AdversarialSelfForcing
from experiments.comparison.baselines.codebook import make_codebook
from experiments.comparison.baselines.controls import ErrorTransform, foreign, stale, transformed
from experiments.comparison.baselines.critic_network import window_critic
from experiments.comparison.baselines.discrete import DiscreteHistory
from experiments.comparison.baselines.discretised import Discretised
from experiments.comparison.baselines.mmd import KernelSelfForcing, WindowFeatures
from experiments.comparison.method import Method, registered
from experiments.comparison.phases import (
    Job,
    Variant,
    beginning_at,
    forward_calls,
    learning_at,
    one_step_frames,
    recycle_with,
    scratch_with,
    tune_with,
)
from experiments.comparison.task import Task, Trained, build_generator
from recycle_jax.errors.bank.slots import NoiseSlots, OneSlot, SlotMap
from recycle_jax.errors.rollout.references import Recorded, Reference
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.base import Generator
from recycle_jax.generators.context_noise import ContextNoise
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.histories.base import ExamplePolicy, HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.gradient_normalised import GradientNormalizedLoss, mean_gradient_energy
from recycle_jax.histories.one_step import OneStepErrors
from recycle_jax.histories.recipe import Recipe, recycle
from recycle_jax.sharding import ROLES, place
from recycle_jax.training.cost import flops_of

FINAL = recycle()
"""The recipe."""

SLOW = recycle(max_displacement_px=None, gradient_normalized=False)
"""The recipe before its chains ended, of rows of one weight; used at the budget's rates."""

HALF = 0.5
"""Share of B's updates after which a method begins, where it begins early."""

SIZES = ("chains", "max_age", "harvest_every", "harvest_steps", "capacity", "shards")
"""What a task decides of recycling; the recipe decides the rest."""

CRITIC_STEPS = 4
"""Generated steps of the windows that critics judge."""


def tuned(policy: HistoryPolicy) -> Method:
    """A policy from B's parameters on."""
    return Method(run=lambda job: tune_with(job, policy, "tune"))


def gradient_normalized(policy: ExamplePolicy) -> Method:
    """A policy from B's parameters on, with a gradient-normalised loss."""

    def run(job: Job) -> Trained:
        real = job.task.source(job.seed).batch(0, 64, policy.clip_frames(job.task.generator))
        return tune_with(job, GradientNormalizedLoss(inner=policy, reference_energy=mean_gradient_energy(real)), "tune")

    return Method(run=run)


def with_context_noise(policy: HistoryPolicy, told: float) -> Method:
    """A policy from B's parameters on, and a history that counts as noisy while generating."""

    def run(job: Job) -> Trained:
        trained = tune_with(job, policy, "tune")
        return dataclasses.replace(trained, generator=ContextNoise(inner=job.task.generator, told=told))

    return Method(run=run)


def at_temperature(method: Method, temperature: float) -> Method:
    """A method whose flow rolls out at a temperature, in training where it rolls out there and when judged."""
    return dataclasses.replace(method, run=lambda job: _run_with(method, job, _at(job.task.generator, temperature)))


def from_half_of_b(method: Method, first: HistoryPolicy = TeacherForcing()) -> Method:  # noqa: B008 (frozen)
    """A method from a B of half the updates, or as many of another policy, at the same total cost."""
    return dataclasses.replace(method, run=lambda job: method.run(beginning_at(job, HALF, first)))


def with_learning_rate(method: Method, rate: float = FINAL.learning_rate) -> Method:
    """A method that learns at another rate, from the first update on; the recipe's if none is given."""
    return dataclasses.replace(method, run=lambda job: method.run(learning_at(job, rate)))


def chosen(setting: str, method: Method) -> Method:
    """A method whose setting was chosen by the screening, under the name that it had there."""
    return dataclasses.replace(method, setting=setting)


def serving(refuses: Callable[[Task], str], method: Method) -> Method:
    """A method that refuses some tasks."""
    return dataclasses.replace(method, refuses=refuses)


def flows_only(task: Task) -> str:
    """For methods that renoise frames to a level and sample on from there."""
    return "" if task.kind == "flow" else "a deterministic predictor has no noise levels to resample from"


def has_temperature(task: Task) -> str:
    """For what changes how a generator draws."""
    return "" if task.kind == "flow" else "a deterministic predictor draws nothing, so that there is no temperature"


def recycling(
    reference: Callable[[Task], Reference] = registered,
    variant: Callable[[Job], Variant] = lambda job: Variant(),
    **changes: Any,
) -> Method:
    """Recycling as the task has it, with another reference, other settings, or another part."""

    def run(job: Job) -> Trained:
        settings = dataclasses.replace(job.task.recycling, **changes)
        return recycle_with(job, reference(job.task), "recycle", settings, variant(job))

    return Method(run=run)


def by_recipe(
    method: Method,
    recipe: Recipe = FINAL,
    *,
    first: HistoryPolicy = TeacherForcing(),  # noqa: B008 (frozen)
    begins: float = HALF,
    temperature: float | None = None,
) -> Method:
    """Recycling by a recipe, or what is taken apart of it, at the budget's rates.

    Args:
        method: made by `recycling`.
        recipe: its settings, its gate, and its temperature where the next frame follows from the context.
        first: trains until recycling begins.
        begins: share of B's updates after which it does so, at the same total cost; at 1, from B.
        temperature: of a flow, whether the next frame follows or not; None leaves it to the recipe.
    """

    def run(job: Job) -> Trained:
        job = beginning_at(job, begins, first)
        task = by_recipes_settings(job.task, recipe)
        if temperature is None:
            real = task.for_choices.batch(2, 64, one_step_frames(task.generator))
            generator = recipe.generator(task.generator, job.base.params, real)
        else:
            generator = _at(task.generator, temperature)
        return _run_with(method, dataclasses.replace(job, task=task), generator)

    return dataclasses.replace(method, run=run)


def ours(method: Method, **changes: Any) -> Method:
    """The recipe, or what is taken apart of it, at its learning rate from the first update on."""
    return with_learning_rate(by_recipe(method, **changes))


def by_recipes_settings(task: Task, recipe: Recipe) -> Task:
    """The task with the settings of a recipe, of its own sizes."""
    gate = recipe.reference.gate.distance  # type: ignore[attr-defined]
    choices = dataclasses.replace(task.choices, velocity_damping=None, flow_velocity_damping=None, gate_distance=gate)
    sizes = {name: getattr(task.recycling, name) for name in SIZES}
    return dataclasses.replace(task, choices=choices, recycling=dataclasses.replace(recipe.recycling, **sizes))


def recorded(task: Task) -> Recorded:
    """The recorded clip, by the gate of the recipe's reference."""
    return Recorded(gate=registered(task).gate)


def simulated(task: Task) -> Reference:
    """The simulator's reference."""
    assert task.continued is not None
    return task.continued


def with_errors(transform: ErrorTransform) -> Method:
    """Recycling of other errors than the generator's own."""
    return recycling(variant=lambda job: Variant(bank=lambda bank: transformed(bank, transform)))


def with_stale_bank(rounds: int = 5) -> Method:
    """Recycling whose bank is never refreshed after the first harvests."""

    def variant(job: Job) -> Variant:
        until = rounds * job.task.recycling.harvest_every
        return Variant(program=lambda program: stale(program, until), until=until)

    return recycling(variant=variant)


def with_foreign_errors() -> Method:
    """Recycling of the errors of another seed's B."""

    def variant(job: Job) -> Variant:
        params = place(job.base_of(job.seed + 1000).params, job.task.mesh, ROLES.params)
        return Variant(program=lambda program: foreign(program, params))

    return recycling(variant=variant)


def discrete(codes: int, patch: int) -> Method:
    """History made of codes of training clips, in training, which pays for the look-ups, and while generating."""

    def run(job: Job) -> Trained:
        clips = job.task.source(job.seed).batch(0, 64, 4).clip
        codebook = make_codebook(clips, jax.random.key(job.seed), codes=codes, patch=patch)
        trained = tune_with(job, DiscreteHistory(codebook=codebook), "tune")
        return dataclasses.replace(trained, generator=Discretised(inner=job.task.generator, codebook=codebook))

    return Method(run=run)


def another(build: Callable[[Task], Generator], policy: HistoryPolicy = TeacherForcing()) -> Method:  # noqa: B008 (frozen)
    """Another generator, from scratch, for B's and the extra budget together."""
    return Method(run=lambda job: scratch_with(job, build(job.task), policy, "scratch"))


def sized(task: Task, context: int | None = None, **changes: Any) -> Generator:
    """The task's generator with another context or another network."""
    net = dataclasses.replace(task.net, **changes)
    return build_generator(task.kind, task.held_out.shape, context or task.generator.context_frames, net)


def anchored(task: Task) -> Generator:
    """One frame that stays, and the usual context behind it."""
    return Anchored(inner=sized(task, context=task.generator.context_frames + 1))


def published(preset: Callable[..., OneStepErrors]) -> Method:
    """A preset of Stable Video Infinity; its slots are a flow's noise levels, spaced as by its own sampler."""

    def slots_of(flow: Generator) -> SlotMap:
        return NoiseSlots(steps=50, shift=flow.shift) if isinstance(flow, RectifiedFlow) else OneSlot()

    return Method(run=lambda job: tune_with(job, preset(slots=slots_of(job.task.generator)), "tune"))


def kernel(weight: float) -> Method:
    """Rollouts distributed as real windows are, by kernels on fixed features."""

    def run(job: Job) -> Trained:
        features = WindowFeatures()
        policy = KernelSelfForcing(weight=weight, features=features, **_self_forcing(job.task, features))
        return tune_with(job, policy, "tune")

    return Method(run=run)


def adversarial(weight: float) -> Method:
    """The same, by a small discriminator, whose training is part of the budget."""

    def run(job: Job) -> Trained:
        critic = window_critic(channels=job.task.held_out.shape[2], frames=_window_frames(job.task))
        params = critic.init(jax.random.key(0))
        shared = _self_forcing(job.task, lambda window: critic.apply(params, window))
        return tune_with(job, AdversarialSelfForcing(weight=weight, critic=critic, **shared), "tune")

    return Method(run=run)


def _self_forcing(task: Task, critic: Callable[[jax.Array], Any]) -> dict[str, Any]:
    """What both critics share; the price of one is in calls of the generator's network, for a window."""
    window = jnp.zeros((1, _window_frames(task), *task.held_out.shape))
    share = flops_of(critic, window) / forward_calls(task, task.generator)
    return {"steps": CRITIC_STEPS, "critic_share": share, "rematerialise": False}


def _window_frames(task: Task) -> int:
    return task.generator.context_frames + CRITIC_STEPS * task.generator.chunk_frames


def _at(generator: Generator, temperature: float) -> Generator:
    return (
        dataclasses.replace(generator, temperature=temperature) if isinstance(generator, RectifiedFlow) else generator
    )


def _run_with(method: Method, job: Job, generator: Generator) -> Trained:
    """A method with another generator in the task's place, which also rolls out unless the method brings its own."""
    trained = method.run(dataclasses.replace(job, task=dataclasses.replace(job.task, generator=generator)))
    return dataclasses.replace(trained, generator=trained.generator or generator)
