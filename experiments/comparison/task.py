"""Where methods are compared: one source of clips, one generator, one budget, one evaluator."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from recycle_jax.data.base import ClipSource
from recycle_jax.data.worlds.base import DecodableWorld, continue_from
from recycle_jax.data.worlds.clips import WorldClips
from recycle_jax.drift.monitor import Monitor
from recycle_jax.errors.rollout.references import Continued, Gate, Reference
from recycle_jax.generators.base import Generator
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.histories.recipe import Recycling
from recycle_jax.models.conv import frame_unet, velocity_unet
from recycle_jax.training.cost import Cost
from recycle_jax.typing import Frames, Params, RowKeys

FIRST_VERSION = Recycling(noise=0.03, repair_prob=0.0, max_displacement_px=None, gradient_normalized=False)
"""Settings of recycling before the recipe had its present ones; a task's own, where a method does not say otherwise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Net:
    """Size of the networks.

    Attributes:
        width: channels of the finest level.
        tiles: tiles along each side of a frame, the grid of the finest level.
        levels: resolutions.
        flow_steps: Euler steps of the flow generator.
        frame_levels: whether the network is told the noise of each context frame, rather than of all of them.
        bounded: whether its output is bounded to [-1, 1].
    """

    width: int = 32
    tiles: int = 8
    levels: int = 2
    flow_steps: int = 2
    frame_levels: bool = False
    bounded: bool = True


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
    """What was tuned, on seeds that are not reported; but the balls' brake on two that are, see docs/lab_notes.

    Attributes:
        noise: strongest noise of noise augmentation.
        pushforward: most steps of fresh pushforward.
        reanchor_rate: share of its displacement that a recycled chain takes back.
        velocity_damping: share of its change of displacement that a predictor's chain takes back, see
        `errors.rollout.registered`.
        flow_velocity_damping: the same of a flow's.
        time: whether chains are registered in time too.
        cells: cells a side that are registered on their own.
        gate_distance: largest distance of an accepted case.
        gate_mass: largest relative change of mass of an accepted case.
    """

    noise: float = 0.05
    pushforward: int = 4
    reanchor_rate: float = 0.5
    velocity_damping: float | None = None
    flow_velocity_damping: float | None = 0.2
    time: bool = False
    cells: int = 1
    gate_distance: float = 0.03
    gate_mass: float = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evaluator:
    """Who judges rollouts, and from where they start.

    Attributes:
        monitor: statistics, length and bands.
        starts: real starts that nothing trains on, `[rollouts, frames, h, w, c]`.
        pace: how lively each start's real continuation is, `[rollouts]`, see `drift.memory`; None where nobody knows.
    """

    monitor: Monitor
    starts: Frames
    pace: Callable[[], np.ndarray] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One world with one kind of generator.

    Attributes:
        world: its name.
        kind: `predictor` or `flow`, the generator's name in results.
        generator: who is trained.
        source: `seed -> clips`.
        held_out: clips that nothing trains on.
        truth: `frames -> [t, h, w, c]`, how the judge's first start really goes on, as far as that is known.
        judge: makes who judges its rollouts, bands included; keeps what it made.
        long: makes who judges a few long rollouts, or None where real video is not as long.
        continued: the simulator's reference for this world, or None where there is none.
        budget, choices, recycling: see there.
        mesh: where everything runs.
        simulator: the world itself, or None where video was recorded.
        net: size of the generator's network, for methods that want another.
        train_domain: what the generator trains on.
        elsewhere: domain -> makes who judges it on video of another domain.
        held_out_elsewhere: domain -> held-out clips of that domain.
        fps: frames a second of its videos.
        unjudged: clips by which a method may choose, where `held_out` holds those that rollouts are judged on.
    """

    world: str
    kind: str
    generator: Generator
    source: Callable[[int], ClipSource]
    held_out: ClipSource
    truth: Callable[[int], Any]
    judge: Callable[[], Evaluator]
    long: Callable[[], Evaluator] | None
    continued: Reference | None
    budget: Budget
    choices: Choices
    recycling: Recycling
    mesh: Mesh
    simulator: DecodableWorld | None = None
    net: Net = Net()
    train_domain: str = "all"
    elsewhere: Mapping[str, Callable[[], Evaluator]] = dataclasses.field(default_factory=dict)
    held_out_elsewhere: Mapping[str, ClipSource] = dataclasses.field(default_factory=dict)
    unjudged: ClipSource | None = None
    fps: float = 12.0

    @property
    def for_choices(self) -> ClipSource:
        """Clips by which a method may choose rounds and temperatures: neither trained on nor judged."""
        return self.unjudged or self.held_out


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """Parameters and their bill, all phases from scratch included.

    Attributes:
        params: what is rolled out.
        cost: of all training.
        bank: its bytes and entries, where there is one.
        generator: who rolls out, None for the arena's own.
        rounds: of recycling: `value` [after round i], the distance of rollouts from their reference, and `cost` of the
            round over B's.
    """

    params: Params
    cost: Cost
    bank: dict[str, int] = dataclasses.field(default_factory=dict)
    generator: Generator | None = None
    rounds: dict[str, Any] = dataclasses.field(default_factory=dict)


def build_generator(
    kind: str, shape: tuple[int, int, int], context: int, net: Net, *, chunk_frames: int = 1
) -> Generator:
    """The generator that results call `kind`."""
    if shape[0] % net.tiles:
        raise ValueError(f"frames of {shape[0]} pixels do not divide into {net.tiles} tiles: change --config.net.tiles")
    sizes: dict[str, Any] = {"width": net.width, "patch": shape[0] // net.tiles, "levels": net.levels}
    sizes |= {"frame_levels": net.frame_levels, "bounded": net.bounded}
    frames: dict[str, Any] = {"context_frames": context, "chunk_frames": chunk_frames}
    makers: dict[str, Callable[[], Generator]] = {
        "predictor": lambda: Predictor(network=frame_unet(shape=shape, **frames, **sizes), **frames),
        "flow": lambda: RectifiedFlow(
            network=velocity_unet(shape=shape, **frames, **sizes), steps=net.flow_steps, **frames
        ),
    }
    if kind not in makers:
        raise ValueError(f"unknown generator {kind!r}: there are {', '.join(makers)}")
    return makers[kind]()


def simulator_reference(world: DecodableWorld, gate: Gate) -> Continued:
    """`continued`, meant as the upper bound: decodes the state and runs the simulator on."""

    def decode_and_run(context: Frames, keys: RowKeys) -> tuple[Frames, Frames, Any]:
        def one(window: Any, key: Any) -> tuple[Any, Any, Any]:
            state, confidence = world.decode(window[-world.context_frames :])
            shown = jnp.concatenate([window[:-1], world.render(state)[None]])
            return shown, continue_from(world, state, key, 1), confidence

        return jax.vmap(one)(context, keys)

    return Continued(decode_and_run=decode_and_run, gate=gate)


def gate_of(choices: Choices) -> Gate:
    """The accept gate of all references."""
    return Gate(distance=choices.gate_distance, mass=choices.gate_mass)


def world_source(world: DecodableWorld) -> Callable[[int], ClipSource]:
    """`seed -> clips` of a world."""
    return lambda seed: WorldClips(world=world, seed=seed)
