"""The phases of the recipe: from a generator and clips to a generator that stays stable.

    1  B           teacher forcing, `train_phase`
    2  recycling   rounds of harvest and correction from B's parameters, `recycle_phase`, with the settings and the
                   reference of `histories.recycle()`

Every phase is one call of the loop with its own optimiser: Adam (arXiv 1412.6980) on a warm-up and cosine
schedule, gradients clipped to norm 1, and every phase hands out averaged parameters (`training.ema`). Rivals of
recycling are `train_phase` with another policy.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from recycle_jax.batch import Batch
from recycle_jax.data.base import ClipSource
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.capacity import allocate, check_memory
from recycle_jax.errors.rollout.references import Reference
from recycle_jax.generators.base import Generator
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.memories import with_bank
from recycle_jax.histories.recipe import Recycling
from recycle_jax.sharding import ROLES, place
from recycle_jax.training.ema import ema_params, with_ema
from recycle_jax.training.harvest_step import HarvestProgram, make_harvest
from recycle_jax.training.loop import Harvesting, Observer, RunState, Schedule, resume, run
from recycle_jax.training.state import init_state, with_optimizer
from recycle_jax.training.step import make_correct
from recycle_jax.typing import Params, PRNGKey, PyTree

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
) -> Params:
    """Trains without harvests, from `params` or from scratch; returns the averaged parameters.

    Raises:
        MemoryError: if the banks that the policy remembers do not fit the devices; it names a capacity that would.
    """
    optimizer = adam.build(schedule.updates)
    # The program donates its state: the caller keeps the parameters that it passed.
    own = None if params is None else jax.tree.map(jnp.copy, params)
    train = init_state(generator, optimizer, key) if own is None else with_optimizer(own, optimizer, key)
    first = source.batch(schedule.first_batch, schedule.rows, schedule.frames)
    memory = _begin(policy, generator, first, mesh.size, key, mesh)
    state = RunState(train=place(train, mesh, ROLES.params), bank=memory)
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

    The parameters to use are `training.ema.ema_params(state.train)`, or a watcher's `result(state)`. In place of
    `recycling.bank()` another `bank` of as many shards may be filled, such as one with an adaptive threshold, and by
    another `program` than that of `recycling.harvest(generator)`.
    """
    optimizer, harvest = adam.build(schedule.updates), recycling.harvest(generator)
    bank = recycling.bank() if bank is None else bank
    harvesting = Harvesting(
        program=program or make_harvest(harvest, bank, mesh, recycling.harvest_steps),
        reference=place(reference, mesh, ROLES.params),
        clips=source,
        chains=recycling.chains,
        frames=harvest.clip_frames(reference),
        every=recycling.harvest_every,
    )
    own = jax.tree.map(jnp.copy, params)
    first = source.batch(schedule.first_batch, recycling.chains, harvesting.frames)
    batch = source.batch(schedule.first_batch, schedule.rows, schedule.frames)
    policy = recycling.weighed(recycling.policy(bank, generator), batch)
    memory = _begin(policy, generator, batch, recycling.shards, key, mesh)
    cases = allocate(bank, harvest.entry(source.shape, first.condition), mesh)
    state = RunState(
        train=place(with_optimizer(own, optimizer, key), mesh, ROLES.params),
        bank=with_bank(memory, cases),
        chains=place(harvest.start(first), mesh, ROLES.rows),
    )
    if observer.checkpoints is not None:
        state = resume(observer.checkpoints, state)
    correct = make_correct(generator, policy, optimizer, mesh)
    return run(correct, state, source, schedule, mesh, harvesting, observer)


def _begin(policy: HistoryPolicy, generator: Generator, batch: Batch, shards: int, key: PRNGKey, mesh: Mesh) -> PyTree:
    """What a policy remembers at first, on the mesh; MemoryError, before it is made, where it does not fit."""
    begin = functools.partial(policy.begin, generator, batch, shards, jax.random.fold_in(key, MEMORY_STREAM))
    check_memory(jax.eval_shape(begin), mesh)
    return place(begin(), mesh, ROLES.bank)
