"""Where remedies for drift compete: one source of clips, one generator, one budget, one judge.

The budget is in FLOPs. B is teacher forcing. Every other method starts from B's parameters and spends the same
extra FLOPs, a share of B's, on whatever it does: recycling on harvests and corrections, pushforward on rollouts and
updates. So horizons are compared at equal cost, and cost is stated over B's.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from recycle_jax.data.base import ClipSource
from recycle_jax.data.worlds.base import DecodableWorld, continue_from
from recycle_jax.data.worlds.clips import WorldClips
from recycle_jax.drift.monitor import Monitor
from recycle_jax.errors.references import Continued, Gate, Reference
from recycle_jax.errors.registered import Registered
from recycle_jax.errors.registration import Registration
from recycle_jax.generators.base import Generator
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.models.conv import frame_unet, velocity_unet
from recycle_jax.policies.base import HistoryPolicy
from recycle_jax.policies.clean import TeacherForcing
from recycle_jax.policies.noise import NoiseAugmentation
from recycle_jax.policies.pushforward import Pushforward
from recycle_jax.training.cost import Cost, forward_flops, harvest_flops, update_flops
from recycle_jax.training.loop import Observer, Schedule
from recycle_jax.training.recipe import Adam, Recycling, recycle_phase, train_phase
from recycle_jax.training.watcher import Watcher
from recycle_jax.typing import Frames, Params, RowKeys

ROUND = 7
"""Harvests between two looks of the watch."""

Observing = Callable[[str], Observer]
"""From the name of a phase to who is told of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Net:
    """Size of the networks.

    Attributes:
        width: channels of the finest level.
        tiles: tiles along each side of a frame, the grid of the finest level.
        levels: resolutions.
        flow_steps: Euler steps of the flow generator.
    """

    width: int = 32
    tiles: int = 8
    levels: int = 2
    flow_steps: int = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """How long everything trains.

    Attributes:
        base: updates of B.
        extra: what every other method spends besides, as a share of B's FLOPs.
        rows: rows of every batch.
        base_rate: learning rate of B.
        tune_rate: learning rate of everything that starts from B.
    """

    base: int = 4000
    extra: float = 0.45
    rows: int = 32
    base_rate: float = 2e-3
    tune_rate: float = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """What was tuned, on seeds that are not reported; but the balls' brake on two that are, see NOTES.md.

    Attributes:
        noise: strongest noise of noise augmentation.
        pushforward: most steps of fresh pushforward.
        pull: share of its displacement that a recycled chain takes back.
        brake: share of its change of displacement that a predictor's chain takes back, see `errors.registered`.
        flow_brake: the same of a flow's.
        time: whether chains are registered in time too.
        cells: cells a side that are registered on their own.
        gate_distance: largest distance of an accepted case.
        gate_mass: largest relative change of mass of an accepted case.
    """

    noise: float = 0.05
    pushforward: int = 4
    pull: float = 0.5
    brake: float | None = None
    flow_brake: float | None = 0.2
    time: bool = False
    cells: int = 1
    gate_distance: float = 0.03
    gate_mass: float = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """Who judges rollouts, and from where they start.

    Attributes:
        monitor: statistics, length and bands.
        starts: real starts that nothing trains on, `[rollouts, frames, h, w, c]`.
    """

    monitor: Monitor
    starts: Frames


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Arena:
    """One place of the contest.

    Attributes:
        world: its name.
        kind: `predictor` or `flow`, the generator's name in results.
        generator: who is trained.
        source: `seed -> clips`.
        held_out: clips that nothing trains on.
        truth: `frames -> [t, h, w, c]`, how the judge's first start really goes on, as far as that is known.
        judge: who judges its rollouts, bands included.
        long: makes who judges a few long rollouts, or None where real video is not as long.
        continued: the simulator's reference for this world, or None where there is none.
        budget, choices, recycling: see there.
        mesh: where everything runs.
    """

    world: str
    kind: str
    generator: Generator
    source: Callable[[int], ClipSource]
    held_out: ClipSource
    truth: Callable[[int], Any]
    judge: Judge
    long: Callable[[], Judge] | None
    continued: Reference | None
    budget: Budget
    choices: Choices
    recycling: Recycling
    mesh: Mesh


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """Parameters and their bill, all phases from scratch included."""

    params: Params
    cost: Cost
    bank: dict[str, int] = dataclasses.field(default_factory=dict)


def build_generator(kind: str, shape: tuple[int, int, int], context: int, net: Net) -> Generator:
    """The generator that results call `kind`."""
    if shape[0] % net.tiles:
        raise ValueError(f"frames of {shape[0]} pixels do not divide into {net.tiles} tiles: change --config.net.tiles")
    sizes: dict[str, Any] = {"width": net.width, "patch": shape[0] // net.tiles, "levels": net.levels}
    frames: dict[str, Any] = {"shape": shape, "context_frames": context, "chunk_frames": 1}
    makers: dict[str, Callable[[], Generator]] = {
        "predictor": lambda: Predictor(network=frame_unet(**frames, **sizes), context_frames=context),
        "flow": lambda: RectifiedFlow(
            network=velocity_unet(**frames, **sizes), context_frames=context, steps=net.flow_steps
        ),
    }
    if kind not in makers:
        raise ValueError(f"unknown generator {kind!r}: there are {', '.join(makers)}")
    return makers[kind]()


def simulator_reference(world: DecodableWorld, gate: Gate) -> Continued:
    """`continued`: the upper bound, which decodes the state and runs the simulator on."""

    def decode_and_run(context: Frames, keys: RowKeys) -> tuple[Frames, Frames, Any]:
        def one(window: Any, key: Any) -> tuple[Any, Any, Any]:
            state, confidence = world.decode(window[-world.context_frames :])
            shown = jnp.concatenate([window[:-1], world.render(state)[None]])
            return shown, continue_from(world, state, key, 1), confidence

        return jax.vmap(one)(context, keys)

    return Continued(decode_and_run=decode_and_run, gate=gate)


def train_base(arena: Arena, seed: int, observing: Observing) -> Trained:
    """B: teacher forcing from scratch."""
    budget, policy = arena.budget, TeacherForcing()
    schedule = _schedule(arena, budget.base, arena.generator.context_frames + 1, 0)
    params, seconds = _timed(
        train_phase,
        arena.generator,
        policy,
        arena.source(seed),
        schedule,
        jax.random.key(seed),
        arena.mesh,
        adam=Adam(learning_rate=budget.base_rate),
        observer=observing("b"),
    )
    flops = budget.base * update_flops(arena.generator, policy, _forward(arena), budget.rows)
    return Trained(params=params, cost=Cost(train_flops=flops, updates=budget.base, seconds=seconds))


def extra_flops(arena: Arena) -> float:
    """What every method may spend beyond B."""
    update = update_flops(arena.generator, TeacherForcing(), _forward(arena), arena.budget.rows)
    return arena.budget.extra * arena.budget.base * update


def tune_with(arena: Arena, base: Trained, policy: HistoryPolicy, seed: int, observer: Observer) -> Trained:
    """Any policy without a bank, from B's parameters, for the extra budget."""
    each = update_flops(arena.generator, policy, _forward(arena), arena.budget.rows)
    updates = max(1, round(extra_flops(arena) / each))
    schedule = _schedule(arena, updates, policy.clip_frames(arena.generator), 10_000_000)
    params, seconds = _timed(
        train_phase,
        arena.generator,
        policy,
        arena.source(seed),
        schedule,
        jax.random.key(seed + 2),
        arena.mesh,
        params=base.params,
        adam=Adam(learning_rate=arena.budget.tune_rate),
        observer=observer,
    )
    return Trained(params=params, cost=base.cost + Cost(train_flops=updates * each, updates=updates, seconds=seconds))


def recycle_with(arena: Arena, base: Trained, reference: Reference, seed: int, observer: Observer) -> Trained:
    """Recycling from B's parameters, for the extra budget."""
    train, harvest = _recycling_flops(arena, 1000)
    updates = max(1, round(1000 * extra_flops(arena) / (train + harvest)))
    frames = arena.generator.context_frames + 1
    schedule = _schedule(arena, updates, frames, 10_000_000)
    schedule = dataclasses.replace(schedule, watch_every=ROUND * arena.recycling.harvest_every)
    watcher = Watcher(
        generator=arena.generator,
        batch=arena.held_out.batch(1, 64, frames),
        directory=None if observer.checkpoints is None else observer.checkpoints / "watch",
    )
    state, seconds = _timed(
        recycle_phase,
        arena.generator,
        base.params,
        reference,
        arena.source(seed),
        arena.recycling,
        schedule,
        jax.random.key(seed + 2),
        arena.mesh,
        adam=Adam(learning_rate=arena.budget.tune_rate),
        observer=dataclasses.replace(observer, watch=watcher),
    )
    params = watcher.result(state)
    train, harvest = _recycling_flops(arena, updates)
    cost = Cost(train_flops=train, harvest_flops=harvest, updates=updates, seconds=seconds)
    cost += watcher.cost(base.params)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(state.bank.entries))
    bank = {"bytes": int(held), "entries": int(state.bank.count.sum())}
    return Trained(params=params, cost=base.cost + cost, bank=bank)


def b_plus(arena: Arena, base: Trained, seed: int, observer: Observer) -> Trained:
    """B trained on."""
    return tune_with(arena, base, TeacherForcing(), seed, observer)


def noise(arena: Arena, base: Trained, seed: int, observer: Observer) -> Trained:
    """Noise augmentation, its level told."""
    return tune_with(arena, base, NoiseAugmentation(most=arena.choices.noise), seed, observer)


def pushforward(arena: Arena, base: Trained, seed: int, observer: Observer) -> Trained:
    """Fresh own rollouts, recorded targets."""
    return tune_with(arena, base, Pushforward(steps=arena.choices.pushforward), seed, observer)


def recycle(arena: Arena, base: Trained, seed: int, observer: Observer) -> Trained:
    """Own cases of all ages, `registered` targets: no simulator, no other network."""
    choices = arena.choices
    registration = Registration(time=choices.time, cells=choices.cells)
    brake = choices.flow_brake if arena.kind == "flow" else choices.brake
    reference = Registered(registration=registration, pull=choices.pull, brake=brake, gate=gate_of(choices))
    return recycle_with(arena, base, reference, seed, observer)


def recycle_continued(arena: Arena, base: Trained, seed: int, observer: Observer) -> Trained:
    """Own cases, targets from the simulator, at the same total cost."""
    if arena.continued is None:
        raise ValueError(f"{arena.world} has no simulator: leave out recycle_continued")
    return recycle_with(arena, base, arena.continued, seed, observer)


def gate_of(choices: Choices) -> Gate:
    """The accept gate of all references."""
    return Gate(distance=choices.gate_distance, mass=choices.gate_mass)


def world_source(world: DecodableWorld) -> Callable[[int], ClipSource]:
    """`seed -> clips` of a world."""
    return lambda seed: WorldClips(world=world, seed=seed)


def _schedule(arena: Arena, updates: int, frames: int, first: int) -> Schedule:
    return Schedule(
        updates=updates,
        rows=arena.budget.rows,
        frames=frames,
        first_batch=first,
        log_every=max(1, updates // 20),
        save_every=max(1, updates // 4),
    )


def _forward(arena: Arena) -> float:
    params = jax.eval_shape(arena.generator.init, jax.random.key(0))
    return forward_flops(arena.generator, params, arena.source(0).shape)


def _recycling_flops(arena: Arena, updates: int) -> tuple[float, float]:
    """FLOPs of the corrections and of the harvests of so many updates."""
    recycling, forward = arena.recycling, _forward(arena)
    each = harvest_flops(arena.generator, forward, 0.0, recycling.chains, recycling.harvest_steps)
    harvests = -(-updates // recycling.harvest_every)
    policy = recycling.policy(recycling.bank())
    return updates * update_flops(arena.generator, policy, forward, arena.budget.rows), harvests * each


def _timed(f: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = jax.block_until_ready(f(*args, **options))
    return result, time.perf_counter() - start
