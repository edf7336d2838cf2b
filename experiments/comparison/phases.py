"""Phases of training at equal cost.

The budget is in FLOPs. B is teacher forcing. Every other method starts from B's parameters and spends the same
extra FLOPs, a share of B's, on whatever it does: recycling on harvests and corrections, pushforward on rollouts and
updates; or it starts from scratch and spends B's FLOPs and the extra ones. So horizons are compared at equal cost, and
cost is stated over B's.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax

from experiments.comparison.task import Task, Trained
from recycle_jax.errors.rollout.references import Reference
from recycle_jax.generators.base import Generator
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.memories import bank_of, entries_of
from recycle_jax.histories.recipe import Recycling
from recycle_jax.training.cost import Cost, forward_flops, harvest_flops, history_flops, update_flops
from recycle_jax.training.ema import all_averages, ema_params
from recycle_jax.training.loop import Observer, Renew, Schedule
from recycle_jax.training.phases import Adam, Control, recycle_phase, train_phase
from recycle_jax.training.state import TrainState
from recycle_jax.training.stop import Stop
from recycle_jax.training.watcher import Watcher
from recycle_jax.typing import Params, PRNGKey

ROUND = 7
"""Harvests between two looks of the watch."""

SECOND_PHASE, THIRD_PHASE = 10_000_000, 20_000_000
"""Numbers of the first batch of whatever follows B, and of what follows that, so that each sees other data."""

SELECTION_STREAM = 0x5E1
"""Folded into a seed's key for the rollouts by which an average is chosen."""

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
        others: the contest's other arenas, each with its own `base_of`, for what learns from several.
        first_batch: number of the first batch of what goes on from there.
    """

    task: Task
    start: Callable[[], Trained]
    seed: int
    observing: Observing
    base_of: Callable[[int], Trained]
    base_after: BaseAfter
    others: Callable[[], Sequence[tuple[Task, Callable[[int], Trained]]]] = tuple
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


def selection_flops(task: Task) -> float:
    """What choosing among averages costs, where an arena asks for it."""
    if task.selection is None:
        return 0.0
    return task.selection.calls(task.generator) * forward_calls(task, task.generator)


def spending(job: Job, share: float) -> Job:
    """The job with a share of its extra budget."""
    budget = dataclasses.replace(job.task.budget, extra=job.task.budget.extra * share)
    return dataclasses.replace(job, task=dataclasses.replace(job.task, budget=budget))


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
    updates = max(1, round((extra_flops(task) - selection_flops(task)) / each))
    observer = job.observing(phase)
    tuned = _train(task, task.generator, policy, updates, job.seed, observer, base.params, job.first_batch)
    chosen = Cost(eval_flops_used_for_choices=selection_flops(task))
    return dataclasses.replace(tuned, cost=base.cost + tuned.cost + chosen)


def scratch_with(job: Job, generator: Generator, policy: HistoryPolicy, phase: str, share: float = 1.0) -> Trained:
    """Any generator from scratch, for a share of B's and the extra budget together."""
    task = job.task
    each = _update_flops(task, generator, policy)
    updates = max(1, round(share * (base_flops(task) + extra_flops(task)) / each))
    return _train(task, generator, policy, updates, job.seed, job.observing(phase))


def train_extra(job: Job, generator: Generator, policy: HistoryPolicy, phase: str, share: float) -> Trained:
    """Something besides, from scratch, for a share of the extra budget: a denoiser, a corrector."""
    task = job.task
    each = _update_flops(task, generator, policy)
    updates = max(1, round(share * extra_flops(task) / each))
    return _train(task, generator, policy, updates, job.seed, job.observing(phase))


def recycle_with(
    job: Job,
    reference: Reference,
    phase: str,
    recycling: Recycling | None = None,
    control: Control = Control(),  # noqa: B008 (frozen)
    reference_flops: float = 0.0,
    stop: Stop | None = None,
    renew: Renew | None = None,
) -> Trained:
    """Recycling from B's parameters, for the extra budget.

    Args:
        job: where and from what.
        reference: what rollouts are compared with.
        phase: name of the phase.
        recycling: other settings than the arena's.
        control: what is taken from recycling.
        reference_flops: the reference's own price a row.
        stop: ends before the budget is spent where rounds no longer pay; its unit of cost is B.
        renew: for a reference that holds the network in training.
    """
    task, base, seed = job.task, job.base, job.seed
    recycling = on_task(recycling or task.recycling, task)
    updates = _updates_within(task, recycling, reference_flops, control.until)
    frames = task.generator.context_frames + task.generator.chunk_frames
    needed = recycling.policy(recycling.bank(), task.generator).clip_frames(task.generator)
    schedule = _schedule(task, updates, needed, job.first_batch)
    schedule = dataclasses.replace(schedule, watch_every=ROUND * recycling.harvest_every)
    observer = job.observing(phase)
    watcher = Watcher(
        generator=task.generator,
        batch=task.for_choices.batch(1, 64, frames),
        directory=None if observer.checkpoints is None else observer.checkpoints / "watch",
        stop=stop,
        round_cost=task.budget.extra * schedule.watch_every / updates,
    )
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
        adam=_adam(task),
        observer=dataclasses.replace(observer, watch=watcher),
        control=control,
        renew=renew,
    )
    usual = watcher.result(state)
    params, chosen = usual, Cost(eval_flops_used_for_choices=selection_flops(task))
    if task.selection is not None:
        candidates = [usual, *all_averages(state.train)[1:]]
        choice = task.selection.choose(task.generator, candidates, task.source(seed), _selection_key(seed))
        params = choice.params
    updates = int(state.train.step)
    train, harvest = _recycling_flops(task, recycling, updates, reference_flops, control.until)
    cost = Cost(train_flops=train, harvest_flops=harvest, updates=updates, seconds=seconds)
    cost += watcher.cost(base.params) + chosen
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(entries_of(state.bank)))
    bank = {"bytes": int(held), "entries": int(bank_of(state.bank).count.sum())}
    return Trained(params=params, cost=base.cost + cost, bank=bank, rounds=_rounds(watcher))


def on_task(recycling: Recycling, task: Task) -> Recycling:
    """The settings with a shard a device: published numbers are of one device, so of one shard."""
    return recycling if recycling.shards else dataclasses.replace(recycling, shards=task.mesh.size)


def _rounds(watcher: Watcher) -> dict[str, Any]:
    """The rounds of recycling for a cell, see `Trained`."""
    priced = watcher.priced
    found: dict[str, Any] = {"cost": [seen.cost for seen in priced], "value": [seen.value for seen in priced]}
    if watcher.stop is not None:
        found |= {"best": watcher.stop.best(priced), "stopped": watcher.verdict()}
    return found


def forward_calls(task: Task, generator: Generator) -> float:
    """FLOPs of one forward call of one row."""
    params = jax.eval_shape(generator.init, jax.random.key(0))
    return forward_flops(generator, params, task.source(0).shape)


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
    adam = _adam(task) if later else Adam(learning_rate=task.budget.base_rate)
    pick: Callable[[TrainState], Params] = ema_params
    if later and task.selection is not None:
        pick = task.selection.pick(generator, task.source(seed), _selection_key(seed))
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
        pick=pick,
        shards=task.mesh.size,
    )
    flops = updates * _update_flops(task, generator, policy)
    cost = Cost(train_flops=flops, updates=updates, seconds=seconds)
    return Trained(params=trained, cost=cost, generator=generator)


def _adam(task: Task) -> Adam:
    """The optimiser of whatever starts from B."""
    others = () if task.selection is None else task.selection.averages
    return Adam(learning_rate=task.budget.tune_rate, grows=task.grows, others=others)


def _selection_key(seed: int) -> PRNGKey:
    return jax.random.fold_in(jax.random.key(seed), SELECTION_STREAM)


def _schedule(task: Task, updates: int, frames: int, first: int) -> Schedule:
    return Schedule(
        updates=updates,
        rows=task.budget.rows,
        frames=frames,
        first_batch=first,
        log_every=max(1, updates // 20),
        save_every=max(1, updates // 4),
    )


def _updates_within(task: Task, recycling: Recycling, reference: float, until: int) -> int:
    """Updates that the extra budget pays for; harvests end at `until`, unless it is 0."""
    paid = extra_flops(task) - selection_flops(task)
    train, harvest = _recycling_flops(task, recycling, 1000, reference)
    updates = 1000 * paid / (train + harvest)
    if 0 < until < updates:
        _, harvest = _recycling_flops(task, recycling, until, reference)
        updates = 1000 * (paid - harvest) / train
    return max(1, round(updates))


def _recycling_flops(
    task: Task, recycling: Recycling, updates: int, reference: float, until: int = 0
) -> tuple[float, float]:
    """FLOPs of the corrections and of the harvests of so many updates; those end at `until`, unless it is 0."""
    generator = task.generator
    forward, history = forward_calls(task, generator), history_flops(generator, task.source(0).shape)
    each = harvest_flops(generator, forward, reference, recycling.chains, recycling.harvest_steps, history)
    harvests = -(-min(updates, until or updates) // recycling.harvest_every)
    policy = recycling.policy(recycling.bank(), generator)
    return updates * _update_flops(task, generator, policy), harvests * each


def _update_flops(task: Task, generator: Generator, policy: HistoryPolicy) -> float:
    """FLOPs of an update."""
    history = history_flops(generator, task.source(0).shape)
    return update_flops(generator, policy, forward_calls(task, generator), task.budget.rows, history)


def _timed(f: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = jax.block_until_ready(f(*args, **options))
    return result, time.perf_counter() - start
