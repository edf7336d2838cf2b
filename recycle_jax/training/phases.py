"""The phases of the recipe: from a generator and clips to a generator that stays stable.

    1  B           teacher forcing, `train_phase`
    2  recycling   rounds of harvest and correction from B's parameters, `recycle_phase`, with the settings and the
                   reference of `histories.recycle()`

What cannot be split over the devices is refused before anything is made. Nothing that the caller passes is donated.

Every phase is one call of the loop with its own optimiser: Adam (arXiv 1412.6980) on a warm-up and cosine
schedule, gradients clipped to norm 1, and every phase hands out averaged parameters (`training.ema`). Rivals of
recycling are `train_phase` with another policy.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from recycle_jax.batch import Batch
from recycle_jax.data.base import ClipSource
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.capacity import allocate, check_memory, logical_shards
from recycle_jax.errors.rollout.harvest import Chains, Harvest
from recycle_jax.errors.rollout.references import Reference
from recycle_jax.generators.base import Generator
from recycle_jax.generators.temperature import is_deterministic
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.memories import with_bank
from recycle_jax.histories.mixture import period_of
from recycle_jax.histories.recipe import Recycling
from recycle_jax.sharding import ROLES, named, place, require_multiples
from recycle_jax.training.batches import placed_batch
from recycle_jax.training.ema import ema_params, with_ema
from recycle_jax.training.harvest_step import HarvestProgram, make_harvest
from recycle_jax.training.loop import Harvesting, Observer, RunState, Schedule, resume, run
from recycle_jax.training.state import placed_state
from recycle_jax.training.step import make_correct
from recycle_jax.typing import Params, PRNGKey, PyTree

ROWS = "rows (batch_size)"
"""The setting as schedules and the calls of the package name it."""

RECYCLING_BATCHES = 10_000_000
"""Number of the first batch of recycling, past those of the phase before it."""

MEMORY_STREAM = 0x4D45
"""Folded into a phase's key for what its policy remembers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam:
    """The optimiser of a phase.

    Attributes:
        learning_rate: at the top of the schedule.
        floor: learning rate at the end, as a share of the top.
        warmup: share of the updates in which the rate rises from 0.
        average: updates over which parameters are averaged, as a share of the phase's; 0 hands out the newest.
    """

    learning_rate: float = 1e-3
    floor: float = 0.05
    warmup: float = 0.05
    average: float = 0.3

    def build(self, updates: int) -> optax.GradientTransformation:
        """The transformation for a phase of so many updates."""
        rise = max(1, round(self.warmup * updates))
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate, rise, max(updates, rise + 1), self.learning_rate * self.floor
        )
        adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
        return with_ema(adam, max(1.0, self.average * updates)) if self.average else adam


def train_phase(
    generator: Generator,
    policy: HistoryPolicy,
    source: ClipSource,
    schedule: Schedule,
    key: PRNGKey,
    mesh: Mesh,
    *,
    params: Params | None = None,
    adam: Adam = Adam(),  # noqa: B008 (frozen)
    observer: Observer = Observer(),  # noqa: B008 (frozen)
    shards: int | None = None,
) -> Params:
    """Trains without harvests, from `params` or from scratch; returns the averaged parameters.

    What the policy remembers is kept in `shards`, a multiple of the devices; None for a number that makes its draws the
    same on 1, 2, 4 and 8 of them. Batches are numbered from 0 where the schedule does not say.

    Raises:
        ValueError: if the rows of a batch, or `shards`, cannot be split over the devices, naming the nearest that can.
        MemoryError: if the banks that the policy remembers do not fit the devices; it names a capacity that would.
    """
    period = period_of(policy)
    shards = shards or logical_shards(mesh.size, schedule.rows // period)
    require_multiples({ROWS: (schedule.rows, period * mesh.size), "shards": (shards, mesh.size)}, mesh)
    optimizer = adam.build(schedule.updates)
    first = placed_batch(source, schedule.first_batch or 0, schedule.rows, schedule.frames, mesh)
    memory = _begin(policy, generator, first, shards, key, mesh)
    state = RunState(train=placed_state(generator, optimizer, key, mesh, params), bank=memory)
    if observer.checkpoints is not None:
        state = resume(observer.checkpoints, state)
    correct = make_correct(generator, policy, optimizer, mesh)
    return ema_params(run(correct, state, source, schedule, mesh, observer=observer).train)


def recycle_phase(
    generator: Generator,
    params: Params,
    reference: Reference,
    source: ClipSource,
    recycling: Recycling,
    schedule: Schedule,
    key: PRNGKey,
    mesh: Mesh,
    *,
    adam: Adam = Adam(),  # noqa: B008 (frozen)
    observer: Observer = Observer(),  # noqa: B008 (frozen)
    bank: ErrorBank | None = None,
    program: HarvestProgram | None = None,
) -> RunState:
    """Rounds of harvest and correction, from `params`; returns the whole state, its bank included.

    The parameters to use are `training.ema.ema_params(state.train)`, or a watcher's `result(state)`. Batches are
    numbered from `RECYCLING_BATCHES` where the schedule does not say, so that recycling sees other clips than the
    phase before it. In place of `recycling.bank()` another `bank` of as many shards may be filled, such as one with an
    adaptive threshold, and by another `program` than that of `recycling.harvest(generator)`.

    Raises:
        ValueError: if rows, chains, capacity or shards cannot be split over the devices; it names the nearest that can.
        MemoryError: if a bank does not fit the devices; it names a capacity that would.
    """
    if schedule.first_batch is None:
        schedule = dataclasses.replace(schedule, first_batch=RECYCLING_BATCHES)
    recycling = _shared_out(recycling, generator, schedule, mesh)
    first_batch = schedule.first_batch or 0
    batch = placed_batch(source, first_batch, schedule.rows, schedule.frames, mesh)
    deterministic = is_deterministic(generator, params, batch, mesh)
    optimizer, bank = adam.build(schedule.updates), recycling.bank() if bank is None else bank
    harvest = recycling.harvest(generator, deterministic)
    harvesting = Harvesting(
        program=program or make_harvest(harvest, bank, mesh, recycling.harvest_steps),
        reference=place(reference, mesh, ROLES.params),
        clips=source,
        chains=recycling.chains,
        frames=harvest.clip_frames(reference),
        every=recycling.harvest_every,
    )
    first = placed_batch(source, first_batch, recycling.chains, harvesting.frames, mesh)
    policy = recycling.weighed(recycling.policy(bank, generator), batch)
    memory = _begin(policy, generator, batch, bank.shards, key, mesh)
    cases = allocate(bank, harvest.entry(source.shape, first.condition), mesh)
    state = RunState(
        train=placed_state(generator, optimizer, key, mesh, params),
        bank=with_bank(memory, cases),
        chains=_started(harvest, first, mesh),
    )
    if observer.checkpoints is not None:
        state = resume(observer.checkpoints, state)
    correct = make_correct(generator, policy, optimizer, mesh)
    return run(correct, state, source, schedule, mesh, harvesting, observer)


def _shared_out(recycling: Recycling, generator: Generator, schedule: Schedule, mesh: Mesh) -> Recycling:
    """The settings with a number of shards, checked against the devices before anything is made."""
    period = period_of(recycling.policy(recycling.bank(), generator))
    chosen = recycling.in_shards(schedule.rows // period, mesh.size)
    shards = chosen.shards or 1
    sizes = {
        "shards": (shards, mesh.size),
        ROWS: (schedule.rows, period * math.lcm(shards, mesh.size)),
        "chains": (recycling.chains, math.lcm(shards, mesh.size)),
        "capacity": (recycling.capacity, math.lcm(shards, mesh.size)),
    }
    require_multiples(sizes, mesh)
    return chosen


def _begin(policy: HistoryPolicy, generator: Generator, batch: Batch, shards: int, key: PRNGKey, mesh: Mesh) -> PyTree:
    """What a policy remembers at first, made where it is to lie; MemoryError, before that, where it does not fit."""
    shapes = jax.eval_shape(lambda: batch)

    def begin(key: PRNGKey) -> PyTree:
        like = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return policy.begin(generator, like, shards, jax.random.fold_in(key, MEMORY_STREAM))

    there = place(key, mesh, ROLES.params)
    check_memory(jax.eval_shape(begin, there), mesh)
    return jax.jit(begin, out_shardings=named(mesh, ROLES.bank))(there)


def _started(harvest: Harvest, first: Batch, mesh: Mesh) -> Chains:
    """Chains on real clips, which are copied: chains are donated, and a source may keep its clips."""
    start = jax.jit(lambda batch: jax.tree.map(jnp.copy, harvest.start(batch)), out_shardings=named(mesh, ROLES.rows))
    chains: Chains = start(first)
    return chains
