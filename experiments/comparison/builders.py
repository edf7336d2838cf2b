"""What makes a remedy of a policy, a generator, a reference or settings, for the tables of
`experiments.comparison.methods`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.comparison.baselines.codebook import make_codebook
from experiments.comparison.baselines.discrete import DiscreteHistory
from experiments.comparison.baselines.discretised import Discretised
from experiments.comparison.method import Method, registered
from experiments.comparison.phases import Job, beginning_at, learning_at, recycle_with, scratch_with, tune_with
from experiments.comparison.task import Task, Trained, build_generator, gate_of
from recycle_jax import flow_matching as fm
from recycle_jax.data.worlds.base import project
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.draws import OwnDomain
from recycle_jax.errors.bank.replacement import Nearest
from recycle_jax.errors.bank.slots import NoiseSlots, OneSlot, SlotMap
from recycle_jax.errors.one_step.algebra import entry_error
from recycle_jax.errors.one_step.inject import Gates
from recycle_jax.errors.retrieved import Retrieved
from recycle_jax.errors.rollout.references import Projected, Reference
from recycle_jax.errors.rollout.shifted import Shifted
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.base import Generator
from recycle_jax.generators.context_noise import ContextNoise
from recycle_jax.generators.hierarchical import Hierarchical
from recycle_jax.generators.provenance import Provenance
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.histories.anchor import AnchoredHistory
from recycle_jax.histories.base import ExamplePolicy, HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.gradient_normalised import GradientNormalizedLoss, mean_gradient_energy
from recycle_jax.histories.one_step import OneStepErrors
from recycle_jax.histories.recipe import Recipe
from recycle_jax.histories.recipe import recycle as recipe
from recycle_jax.histories.relay import Relay
from recycle_jax.histories.unrolled import Unrolled
from recycle_jax.training.phases import Control
from recycle_jax.training.selection import Selection
from recycle_jax.training.stop import Stop
from recycle_jax.typing import Clip

REACH = 32
"""Most frames between an anchor and the frames that follow it in training."""


LIBRARY = 4096
"""Real windows that a generated one is looked up in."""

EARLY = 0.5
"""Share of B's updates after which a remedy begins, where it begins early."""

RELAYED = recipe(
    trust=0.4,
    max_displacement_px=None,
    gradient_normalized=False,
    first=Relay(max_age=8, capacity=2048),
    learning_rate=8e-3,
)
"""The recipe before its chains ended: from a relay at the budget's rate on, and far cases weigh less."""

FAST = RELAYED.learning_rate
"""The recipe's learning rate, at which networks of this size learn more in the same updates than at the budget's."""

OWN = 0.5
"""What a network is told of a history of its own, where it is told."""

SLOW = dataclasses.replace(RELAYED, recycling=dataclasses.replace(RELAYED.recycling, trust=None))
"""The recipe before its rate was asked for, which was taken apart: all cases alike, and at the budget's rates."""

NEAR = dataclasses.replace(SLOW, reference=recipe(gate_distance=0.01).reference)
"""That with cases that are near the clip only."""

AS_IT_WAS = dataclasses.replace(SLOW, temperature=0.5)
"""That before its flows drew nothing."""

STOP = Stop(price=0.01, higher=False)
"""Another share of B's cost must bring rollouts closer to their reference by that much mean square."""


def tuned(policy: HistoryPolicy) -> Method:
    """A policy from B's parameters on."""
    return Method(run=lambda job: tune_with(job, policy, "tune"))


def even(policy: ExamplePolicy) -> Method:
    """A policy from B's parameters on, whose rows are weighed so that a displacement costs the same in all of them."""

    def run(job: Job) -> Trained:
        real = job.task.source(job.seed).batch(0, 64, policy.clip_frames(job.task.generator))
        return tune_with(job, GradientNormalizedLoss(inner=policy, reference_energy=mean_gradient_energy(real)), "tune")

    return Method(run=run)


def unrolled_gradient(steps: int, ramp: int = 0) -> Unrolled:
    """A rollout with gradient through time. These networks are small: nothing is rematerialised, nor charged for."""
    return Unrolled(steps=steps, gradient=True, rematerialise=False, ramp=ramp)


def told(policy: HistoryPolicy, level: float, added: float = 0.0) -> Method:
    """A policy from B's parameters on, and noise on the history while generating."""

    def run(job: Job) -> Trained:
        trained = tune_with(job, policy, "tune")
        return dataclasses.replace(trained, generator=ContextNoise(inner=job.task.generator, told=level, added=added))

    return Method(run=run)


def cooled(method: Method, twin: str = "", temperature: float = 0.5) -> Method:
    """A remedy whose flow rolls out at a lower temperature, in training where it rolls out there and when judged."""
    return Method(run=lambda job: _run_at(method, job, temperature), refuses=is_deterministic, twin=twin)


def cold(method: Method) -> Method:
    """A remedy whose flow draws nothing; predictors, which draw nothing anyway, are served too."""
    return dataclasses.replace(method, run=lambda job: _run_at(method, job, 0.0))


def by_itself(method: Method, twin: str = "") -> Method:
    """A remedy whose flow decides from B and clips whether it is cooled, as `histories.recycle` had it at first."""
    return Method(
        run=lambda job: _run_with(method, job, _by_itself(job, AS_IT_WAS)), refuses=is_deterministic, twin=twin
    )


def early(
    method: Method,
    first: HistoryPolicy = TeacherForcing(),  # noqa: B008 (frozen)
) -> Method:
    """A remedy from a B of half the updates, or as many of another policy, at the same total cost."""
    return dataclasses.replace(method, run=lambda job: method.run(beginning_at(job, EARLY, first)))


def at_rate(method: Method, rate: float = FAST) -> Method:
    """A remedy that learns at another rate, from the first update on."""
    return dataclasses.replace(method, run=lambda job: method.run(learning_at(job, rate)))


def recycling_at(method: Method, rate: float = FAST) -> Method:
    """A remedy that learns at another rate from where B, or what is in B's place, ends."""

    def run(job: Job) -> Trained:
        budget = dataclasses.replace(job.task.budget, tune_rate=rate)
        return method.run(dataclasses.replace(job, task=dataclasses.replace(job.task, budget=budget)))

    return dataclasses.replace(method, run=run)


def told_own(method: Method) -> Method:
    """A remedy whose network is told which history is its own."""

    def run(job: Job) -> Trained:
        return _run_with(method, job, Provenance(inner=job.task.generator, own_level=OWN))

    return Method(run=run, refuses=method.refuses)


def in_recipe(
    method: Method,
    temperature: float | None = None,
    own_level: float | None = None,
    twin: str = "",
    grows: bool = False,
    selection: Selection | None = None,
    begins: float = EARLY,
    first: HistoryPolicy | None = None,
    usual: Recipe = SLOW,
    wrap: Callable[[Job, Generator], Generator] = lambda job, generator: generator,
) -> Method:
    """The recipe `usual`, or what is taken apart of it, at the budget's rates; None leaves what it decides.

    It begins after the share `begins` of B's updates, made by the policy `first`, at the same total cost; at 1, from B.
    What recycles is the generator in `wrap`.
    """

    def run(job: Job) -> Trained:
        job = beginning_at(job, begins, first or usual.first)
        task = dataclasses.replace(as_recipe(job.task, usual), grows=grows, selection=selection)
        wanted = usual if own_level is None else dataclasses.replace(usual, own_level=own_level)
        generator = _by_itself(job, usual) if temperature is None else _at(task.generator, temperature)
        return _run_with(method, dataclasses.replace(job, task=task), wrap(job, wanted.told(generator)))

    return Method(run=run, refuses=is_deterministic if twin else method.refuses, twin=twin)


def as_it_is(method: Method, **changes: Any) -> Method:
    """The recipe of `histories.recycle`, or what is taken apart of it, at its learning rate from the first update
    on."""
    usual = recipe()
    return at_rate(in_recipe(method, usual=usual, **changes), usual.learning_rate)


def relayed(method: Method, **changes: Any) -> Method:
    """The recipe `RELAYED`, or what is taken apart of it, its learning rate included."""
    return recycling_at(in_recipe(method, usual=RELAYED, **changes))


def as_it_was(method: Method, **changes: Any) -> Method:
    """The recipe, or what is taken apart, as it was at first: from B on, with half of a flow's temperature."""
    return in_recipe(method, begins=1.0, usual=AS_IT_WAS, **changes)


def as_recipe(task: Task, usual: Recipe = SLOW) -> Task:
    """The arena with the choices of a recipe in place of those that settings are screened from."""
    gate = usual.reference.gate.distance  # type: ignore[attr-defined]
    choices = dataclasses.replace(task.choices, velocity_damping=None, flow_velocity_damping=None, gate_distance=gate)
    wanted = {
        name: getattr(usual.recycling, name)
        for name in ("repair_prob", "trust", "max_displacement_px", "gradient_normalized")
    }
    recycling = dataclasses.replace(task.recycling, **wanted)
    return dataclasses.replace(task, choices=choices, recycling=recycling)


def _by_itself(job: Job, usual: Recipe) -> Generator:
    """The arena's generator, cooled where the recipe decides so from B and clips, and told of nothing yet."""
    task = job.task
    frames = task.generator.context_frames + task.generator.chunk_frames
    untold = dataclasses.replace(usual, own_level=0.0)
    return untold.generator(task.generator, job.base.params, task.for_choices.batch(2, 64, frames))


def _at(generator: Generator, temperature: float) -> Generator:
    if isinstance(generator, RectifiedFlow):
        return dataclasses.replace(generator, temperature=temperature)
    return generator


def _run_at(method: Method, job: Job, temperature: float) -> Trained:
    return _run_with(method, job, _at(job.task.generator, temperature))


def _run_with(method: Method, job: Job, generator: Generator) -> Trained:
    """A remedy with another generator in the arena's place, which also rolls out unless the remedy brings its own."""
    trained = method.run(dataclasses.replace(job, task=dataclasses.replace(job.task, generator=generator)))
    return dataclasses.replace(trained, generator=trained.generator or generator)


def is_deterministic(task: Task) -> str:
    """For what changes how a generator draws."""
    return "" if task.kind == "flow" else "a deterministic predictor draws nothing, so that there is no temperature"


def flows_only(task: Task) -> str:
    """For methods that renoise frames to a level and sample on from there."""
    return "" if task.kind == "flow" else "a deterministic predictor has no noise levels to resample from"


def discrete(codes: int, patch: int) -> Method:
    """History made of codes, in training and while generating. Its look-ups are not charged, in its favour."""

    def run(job: Job) -> Trained:
        generator = through_codes(job, job.task.generator, codes=codes, patch=patch)
        trained = tune_with(job, DiscreteHistory(codebook=generator.codebook), "tune")
        return dataclasses.replace(trained, generator=generator)

    return Method(run=run)


def through_codes(job: Job, generator: Generator, *, codes: int = 512, patch: int = 2) -> Discretised:
    """The generator with its history made of codes of the training clips. What trains it pays for the look-ups."""
    clips = job.task.source(job.seed).batch(0, 64, 4).clip
    codebook = make_codebook(clips, jax.random.key(job.seed), codes=codes, patch=patch)
    return Discretised(inner=generator, codebook=codebook)


def another(build: Callable[[Task], Generator], policy: HistoryPolicy = TeacherForcing()) -> Method:  # noqa: B008 (frozen)
    """Another generator, from scratch, for B's and the extra budget together."""
    return Method(run=lambda job: scratch_with(job, build(job.task), policy, "scratch"))


def sized(task: Task, context: int | None = None, **changes: Any) -> Generator:
    """The arena's generator with another context or another network."""
    net = dataclasses.replace(task.net, **changes)
    return build_generator(task.kind, task.held_out.shape, context or task.generator.context_frames, net)


def anchored(task: Task) -> Generator:
    """One frame that stays, and the usual context behind it."""
    return Anchored(inner=sized(task, context=task.generator.context_frames + 1))


def hierarchical(stride: int) -> Callable[[Task], Generator]:
    """Keyframes `stride` apart, and one network more for the frames between them."""

    def build(task: Task) -> Generator:
        context = task.generator.context_frames
        key = sized(task, context=context)
        between = build_generator(task.kind, task.held_out.shape, context + 1, task.net, chunk_frames=stride - 1)
        return Hierarchical(key=key, between=between, stride=stride)

    return build


def slots_of(task: Task) -> SlotMap:
    """Noise levels of a flow, spaced as its own sampler's; one slot for a predictor."""
    flow = task.generator
    return NoiseSlots(steps=50, shift=flow.shift) if isinstance(flow, RectifiedFlow) else OneSlot()


def one_step_errors(
    gates: Gates, *, capacity: int = 500, target: fm.Target = fm.paper_target, aligned: bool = True
) -> Method:
    """Banked one-step errors with other gates, targets, slots or sizes than the published ones."""

    def run(job: Job) -> Trained:
        slots = slots_of(job.task)
        bank = ErrorBank(slots=slots.slots, capacity=capacity, replacement=Nearest(key=entry_error))
        return tune_with(
            job, OneStepErrors(bank=bank, slots=slots, gates=gates, target=target, aligned=aligned), "tune"
        )

    return Method(run=run)


def published(preset: Callable[..., OneStepErrors]) -> Method:
    """A preset of Stable Video Infinity."""
    return Method(run=lambda job: tune_with(job, preset(slots=slots_of(job.task)), "tune"))


def recycled(reference: Callable[[Task], Reference] = registered, **changes: object) -> Method:
    """The recipe with another reference or other settings."""

    def run(job: Job) -> Trained:
        recycling = dataclasses.replace(job.task.recycling, **changes)  # type: ignore[arg-type]
        return recycle_with(job, reference(job.task), "recycle", recycling)

    return Method(run=run)


def carrying(share: float) -> Callable[[Task], Reference]:
    """The recipe's reference, with so much of the context's own speed in its target."""
    return lambda task: dataclasses.replace(registered(task), velocity_carry=share)


def with_choices(**changes: object) -> Method:
    """The recipe with other choices of how rollouts are registered."""

    def run(job: Job) -> Trained:
        choices = dataclasses.replace(job.task.choices, **changes)  # type: ignore[arg-type]
        return recycle_with(job, registered(dataclasses.replace(job.task, choices=choices)), "recycle")

    return Method(run=run)


def one_domain(task: Task) -> str:
    """For methods that tell domains apart."""
    return "" if len(task.held_out.domains) > 1 else f"{task.world} has one domain only"


def cross_own_domain(job: Job) -> Trained:
    """Errors on other clips, but of the same domain."""
    rule = OwnDomain(domains=len(job.task.held_out.domains))
    return recycled(case_rows=0, error_rows=1, rule=rule).run(job)


def controlled(
    control: Callable[[Job], Control], of: Callable[[Method], Method] = in_recipe, **changes: object
) -> Method:
    """The recipe, or what it was, with something taken from it, and other settings."""

    def run(job: Job) -> Trained:
        recycling = dataclasses.replace(job.task.recycling, **changes)  # type: ignore[arg-type]
        return recycle_with(job, registered(job.task), "recycle", recycling, control=control(job))

    return of(Method(run=run))


def stale(job: Job) -> Control:
    """The first five harvests and none after them."""
    return Control(until=5 * job.task.recycling.harvest_every)


def retrieved(job: Job) -> Trained:
    """The nearest of some thousand real windows as reference; chains run free. The search is billed."""
    task, frames = job.task, job.task.generator.context_frames
    windows = task.source(job.seed).batch(0, LIBRARY, frames + task.generator.chunk_frames).clip
    usual = registered(task)
    reference = Retrieved(windows=windows, registration=usual.registration, gate=usual.gate)
    return recycle_with(job, reference, "recycle", reference_flops=reference.flops_per_row(frames))


def by_phase(task: Task, reanchor_rate: float | None = None) -> Reference:
    """Displacement found by phase correlation, of the frame as a whole and of any size."""
    choices = task.choices
    return Shifted(
        reanchor_rate=choices.reanchor_rate if reanchor_rate is None else reanchor_rate, gate=gate_of(choices)
    )


def anchored_and_recycled(job: Job) -> Trained:
    """An anchored generator for as long as the recipe leaves B, and the recipe from there."""
    generator, task = anchored(job.task), as_recipe(job.task)
    policy = AnchoredHistory(inner=TeacherForcing(), reach=REACH)
    base = scratch_with(job, generator, policy, "base", share=EARLY / (1.0 + task.budget.extra))
    task = dataclasses.replace(task, generator=generator)
    there = beginning_at(dataclasses.replace(job, task=task, base_after=lambda updates, policy, rate=None: base), EARLY)
    return dataclasses.replace(recycle_with(there, registered(task), "recycle"), generator=generator)


def projected(task: Task) -> Reference:
    """What was generated, every frame but the first replaced by the nearest that the simulator can show."""
    world = task.simulator
    assert world is not None

    def nearest(clip: Clip) -> Clip:
        ends = range(world.context_frames, len(clip) + 1)
        shown = [project(world, clip[end - world.context_frames : end]) for end in ends]
        return jnp.concatenate([clip[: world.context_frames - 1], jnp.stack(shown)])

    return Projected(project=jax.vmap(nearest), gate=gate_of(task.choices))


def continued(task: Task) -> Reference:
    """The simulator's reference."""
    assert task.continued is not None
    return task.continued


def parametrised(task: Task, output: Callable[..., object]) -> Generator:
    """The arena's generator with an unbounded network inside and another output around it."""
    free = sized(task, bounded=False)
    return dataclasses.replace(free, network=output(free.network))  # type: ignore[type-var, attr-defined]
