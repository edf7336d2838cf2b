"""Phases of training at equal cost.

The budget is in FLOPs. B is teacher forcing. Every other method starts from B's parameters and spends the same
extra FLOPs, a share of B's, on whatever it does: recycling on harvests and corrections, pushforward on rollouts and
updates; or it starts from scratch and spends B's FLOPs and the extra ones. So horizons are compared at equal cost, and
cost is stated over B's.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, Protocol

import jax

from experiments.comparison.task import Task, Trained
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Reference
from recycle_jax.generators.base import Generator
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.memories import bank_of, entries_of
from recycle_jax.histories.recipe import Recycling
from recycle_jax.training.cost import Cost, forward_flops, harvest_flops, history_flops, update_flops
from recycle_jax.training.harvest_step import HarvestProgram, make_harvest
from recycle_jax.training.loop import Observer, Schedule
from recycle_jax.training.phases import Adam, recycle_phase, train_phase
from recycle_jax.training.watcher import Watcher
from recycle_jax.typing import Params

ROUND = 7
"""Harvests between two looks of the watch."""

SECOND_PHASE = 10_000_000
"""Number of the first batch of whatever follows B, so that it sees other data."""

Observing = Callable[[str], Observer]
"""From the name of a phase to who is told of it."""


class BaseAfter(Protocol):
    """What stands in B's place after so many updates of a policy, with a schedule of that length."""

    def __call__(self, updates: int, policy: HistoryPolicy, *, rate: float | None = None) -> Trained:
        """Trains it where it is not there yet; `rate` is another learning rate than the budget's."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One method's task.

    Attributes:
        task: where.
        start: makes what training goes on from, B of this seed; called once it is asked for.
        seed: of training.
        observing: who is told of each phase.
        base_of: B of another seed, trained where it is not there yet.
        base_after: what stands in B's place.
        first_batch: number of the first batch of what goes on from there.
    """

    task: Task
    start: Callable[[], Trained]
    seed: int
    observing: Observing
    base_of: Callable[[int], Trained]
    base_after: BaseAfter
    first_batch: int = SECOND_PHASE

    @property
    def base(self) -> Trained:
        """What training goes on from. What never asks, since it begins from scratch, does not wait for B."""
        return self.start()


def train_base(
    task: Task,
    seed: int,
    observing: Observing,
    policy: HistoryPolicy = TeacherForcing(),  # noqa: B008 (frozen)
) -> Trained:
    """B, which is teacher forcing from scratch; or as many updates of another policy."""
    return _train(task, task.generator, policy, task.budget.base, seed, observing("b"))


def extra_flops(task: Task) -> float:
    """What every method may spend beyond B."""
    return task.budget.extra * base_flops(task)


def base_flops(task: Task) -> float:
    """What B spends."""
    forward = forward_calls(task, task.generator)
    return task.budget.base * update_flops(task.generator, TeacherForcing(), forward, task.budget.rows)


def beginning_at(
    job: Job,
    share: float,
    policy: HistoryPolicy = TeacherForcing(),  # noqa: B008 (frozen)
) -> Job:
    """The job from a B that trained for a share of its updates; what that saves is spent besides the extra budget.

    Args:
        job: from the whole B on; at a share of 1 it is left as it is.
        share: of B's updates.
        policy: trains in teacher forcing's place for that long; it must cost as much.

    Raises:
        ValueError: if an update of the policy has another price than B's.
    """
    if share == 1.0:
        return job
    _require_price_of_clean(job.task, policy)
    budget = job.task.budget
    updates = max(1, round(share * budget.base))
    earlier = dataclasses.replace(budget, base=updates, extra=(1.0 + budget.extra) * budget.base / updates - 1.0)
    task = dataclasses.replace(job.task, budget=earlier)
    start = functools.cache(functools.partial(job.base_after, updates, policy))
    return dataclasses.replace(job, task=task, start=start)


def learning_at(job: Job, rate: float) -> Job:
    """The job at one learning rate from the first update to the last, B or what stands in its place included."""
    budget = dataclasses.replace(job.task.budget, base_rate=rate, tune_rate=rate)
    task, base_after = dataclasses.replace(job.task, budget=budget), functools.partial(job.base_after, rate=rate)
    start = functools.cache(functools.partial(base_after, budget.base, TeacherForcing()))
    return dataclasses.replace(job, task=task, start=start, base_after=base_after)


def _require_price_of_clean(task: Task, policy: HistoryPolicy) -> None:
    price, usual = (update_flops(task.generator, each, 1.0, task.budget.rows) for each in (policy, TeacherForcing()))
    if price != usual:
        raise ValueError(
            f"an update of {type(policy).__name__} costs {price / usual:.2f} of teacher forcing's: "
            "what takes B's place must cost the same, such as Relay"
        )


def tune_with(job: Job, policy: HistoryPolicy, phase: str) -> Trained:
    """Any policy without harvests, from B's parameters, for the extra budget."""
    task, base = job.task, job.base
    each = _update_flops(task, task.generator, policy)
    updates = max(1, round(extra_flops(task) / each))
    observer = job.observing(phase)
    tuned = _train(task, task.generator, policy, updates, job.seed, observer, base.params, job.first_batch)
    return dataclasses.replace(tuned, cost=base.cost + tuned.cost)


def scratch_with(job: Job, generator: Generator, policy: HistoryPolicy, phase: str, share: float = 1.0) -> Trained:
    """Any generator from scratch, for a share of B's and the extra budget together."""
    task = job.task
    each = _update_flops(task, generator, policy)
    updates = max(1, round(share * (base_flops(task) + extra_flops(task)) / each))
    return _train(task, generator, policy, updates, job.seed, job.observing(phase))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """What takes the place of a part of recycling: a control, or a rival that is recycling with another harvest.

    Attributes:
        bank: from the usual bank to the one that is filled and drawn from.
        harvest: from the usual harvest to another.
        program: from the harvest's program to another.
        until: updates after which the harvest costs nothing any more, 0 for never.
    """

    bank: Callable[[ErrorBank], ErrorBank] = lambda bank: bank
    harvest: Callable[[Harvest], Harvest] = lambda harvest: harvest
    program: Callable[[HarvestProgram], HarvestProgram] = lambda program: program
    until: int = 0


def recycle_with(
    job: Job,
    reference: Reference,
    phase: str,
    recycling: Recycling | None = None,
    variant: Variant = Variant(),  # noqa: B008 (frozen)
) -> Trained:
    """Recycling from B's parameters, for the extra budget.

    Args:
        job: where and from what.
        reference: what rollouts are compared with.
        phase: name of the phase.
        recycling: other settings than the task's.
        variant: other parts.
    """
    task, base, seed = job.task, job.base, job.seed
    recycling = on_task(recycling or task.recycling, task)
    updates = _updates_within(task, recycling, variant.until)
    bank = variant.bank(recycling.bank())
    needed = recycling.policy(bank, task.generator).clip_frames(task.generator)
    schedule = _schedule(task, updates, needed, job.first_batch)
    schedule = dataclasses.replace(schedule, watch_every=ROUND * recycling.harvest_every)
    observer = job.observing(phase)
    watcher = Watcher(
        generator=task.generator,
        batch=task.for_choices.batch(1, 64, one_step_frames(task.generator)),
        directory=None if observer.checkpoints is None else observer.checkpoints / "watch",
    )
    harvest = variant.harvest(recycling.harvest(task.generator))
    state, seconds = _timed(
        recycle_phase,
        task.generator,
        base.params,
        reference,
        task.source(seed),
        recycling,
        schedule,
        jax.random.key(seed + 2),
        task.mesh,
        adam=Adam(learning_rate=task.budget.tune_rate),
        observer=dataclasses.replace(observer, watch=watcher),
        bank=bank,
        program=variant.program(make_harvest(harvest, bank, task.mesh, recycling.harvest_steps)),
    )
    updates = int(state.train.step)
    train, harvested = _recycling_flops(task, recycling, updates, variant.until)
    cost = Cost(train_flops=train, harvest_flops=harvested, updates=updates, seconds=seconds)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(entries_of(state.bank)))
    share = task.budget.extra * schedule.watch_every / updates
    return Trained(
        params=watcher.result(state),
        cost=base.cost + cost + watcher.cost(base.params),
        bank={"bytes": int(held), "entries": int(bank_of(state.bank).count.sum())},
        rounds={"cost": [share] * len(watcher.rounds), "value": [seen.score for seen in watcher.rounds]},
    )


def on_task(recycling: Recycling, task: Task) -> Recycling:
    """The settings with a shard a device: published numbers are of one device, so of one shard."""
    return recycling if recycling.shards else dataclasses.replace(recycling, shards=task.mesh.size)


def one_step_frames(generator: Generator) -> int:
    """Frames of a clip that shows a context and the chunk after it."""
    return generator.context_frames + generator.chunk_frames


def forward_calls(task: Task, generator: Generator) -> float:
    """FLOPs of one forward call of one row."""
    params = jax.eval_shape(generator.init, jax.random.key(0))
    return forward_flops(generator, params, _like(task, generator))


def _like(task: Task, generator: Generator) -> Batch:
    """What clips look like to a generator: shapes of one row."""
    return jax.eval_shape(functools.partial(task.source(0).batch, 0, 1, one_step_frames(generator)))


def _train(
    task: Task,
    generator: Generator,
    policy: HistoryPolicy,
    updates: int,
    seed: int,
    observer: Observer,
    params: Params | None = None,
    first_batch: int = 0,
) -> Trained:
    """One phase: from scratch as B is trained, from parameters as everything that starts from B."""
    later, key = params is not None, jax.random.key(seed + 2 if params is not None else seed)
    adam = Adam(learning_rate=task.budget.tune_rate if later else task.budget.base_rate)
    trained, seconds = _timed(
        train_phase,
        generator,
        policy,
        task.source(seed),
        _schedule(task, updates, policy.clip_frames(generator), first_batch),
        key,
        task.mesh,
        params=params,
        adam=adam,
        observer=observer,
        shards=task.mesh.size,
    )
    flops = updates * _update_flops(task, generator, policy)
    cost = Cost(train_flops=flops, updates=updates, seconds=seconds)
    return Trained(params=trained, cost=cost, generator=generator)


def _schedule(task: Task, updates: int, frames: int, first: int) -> Schedule:
    return Schedule(
        updates=updates,
        rows=task.budget.rows,
        frames=frames,
        first_batch=first,
        log_every=max(1, updates // 20),
        save_every=max(1, updates // 4),
    )


def _updates_within(task: Task, recycling: Recycling, until: int) -> int:
    """Updates that the extra budget pays for; harvests end at `until`, unless it is 0."""
    paid = extra_flops(task)
    train, harvest = _recycling_flops(task, recycling, 1000)
    updates = 1000 * paid / (train + harvest)
    if 0 < until < updates:
        _, harvest = _recycling_flops(task, recycling, until)
        updates = 1000 * (paid - harvest) / train
    return max(1, round(updates))


def _recycling_flops(task: Task, recycling: Recycling, updates: int, until: int = 0) -> tuple[float, float]:
    """FLOPs of the corrections and of the harvests of so many updates; those end at `until`, unless it is 0."""
    generator = task.generator
    forward, history = forward_calls(task, generator), history_flops(generator, _like(task, generator))
    each = harvest_flops(generator, forward, 0.0, recycling.chains, recycling.harvest_steps, history)
    harvests = -(-min(updates, until or updates) // recycling.harvest_every)
    policy = recycling.policy(recycling.bank(), generator)
    return updates * _update_flops(task, generator, policy), harvests * each


def _update_flops(task: Task, generator: Generator, policy: HistoryPolicy) -> float:
    """FLOPs of an update."""
    history = history_flops(generator, _like(task, generator))
    return update_flops(generator, policy, forward_calls(task, generator), task.budget.rows, history)


def _timed(f: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = jax.block_until_ready(f(*args, **options))
    return result, time.perf_counter() - start
