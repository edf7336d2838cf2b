"""Evaluating one generator on one kind of video: the same statistics, bands and starts for every method.

Bands are calibrated on real video once, before any method runs, and committed under `experiments/results/bands`;
what a run uses is looked up there by world, length and window, and calibrated anew only where it is missing.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.comparison.task import Evaluator
from recycle_jax.batch import Batch
from recycle_jax.data.arrays import ArrayClips
from recycle_jax.data.base import ClipSource
from recycle_jax.data.worlds.base import DecodableWorld, IdentifyingWorld, identify, project
from recycle_jax.data.worlds.clips import WorldClips
from recycle_jax.data.worlds.measure import half_pixel_distance
from recycle_jax.drift.bands import Bands, Extremes, Tolerance, calibrate
from recycle_jax.drift.base import measure, measure_stream
from recycle_jax.drift.cells import curve_of, exits_of, measured
from recycle_jax.drift.memory import memory, pace
from recycle_jax.drift.monitor import Measurement, Monitor
from recycle_jax.drift.probes import FOREIGN, diversity, response, response_between, rolled_over
from recycle_jax.drift.recorded import recorded_tolerances
from recycle_jax.drift.statistics import IDENTITY, Statistics
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.io.writers import read_json, write_json
from recycle_jax.rollout.scan import kept, rollout
from recycle_jax.rollout.stream import stream
from recycle_jax.sharding import fetch, is_first_host, make_mesh, split_over_devices
from recycle_jax.typing import Frames, Params, PRNGKey, RowKeys, Scalar

BANDS = Path(__file__).parent.parent / "results" / "bands"
CALIBRATION_SEED, CHECK_SEED, START_SEED, HELD_OUT_SEED = 1_000_001, 1_000_002, 1_000_003, 1_000_004
"""Seeds of the clips that no method trains on."""

PROBE_FRAMES = (1, 4, 16)
"""Frames after a foreign error at which it is looked at."""

PACE_FRAMES = 256
"""Frames of real video over which a start's own motion is measured: several beats of a heart."""

PROBE_ROWS = 32
"""Rows that meet a foreign error."""

OTHER_MODELS, OTHER_AGE = "another model's", 8
"""The foreign error that another model made, by so many steps of its own from real frames."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judging:
    """How long, how many.

    Attributes:
        max_frames: frames of a rollout.
        rollouts: how many, from starts that no method has seen.
        window: frames a window of the bands.
        real_rollouts: real rollouts for calibration, and again for the check.
    """

    max_frames: int = 1024
    rollouts: int = 64
    window: int = 8
    real_rollouts: int = 256


def world_statistics(world: DecodableWorld) -> Statistics:
    """What is measured in a world that can read its own frames."""
    tells = functools.partial(identify, world) if isinstance(world, IdentifyingWorld) else None
    return Statistics(context_frames=world.context_frames, project=functools.partial(project, world), identify=tells)


def world_tolerances(world: DecodableWorld, objects: int) -> dict[str, Tolerance]:
    """Widening of a world's bands, fixed before any method: simulated video has no noise of its own.

    A frame may be as far from a valid one as half a pixel of displacement makes it; half an object may be
    missing, too much or another; motion, sharpness and contrast may leave the range of real windows by a fifth.
    """
    half_pixel = float(half_pixel_distance(world, jax.random.key(0)))
    half_object = 0.5 / objects
    same = {IDENTITY: Tolerance(lo_at_most=1.0 - half_object)} if isinstance(world, IdentifyingWorld) else {}
    return {
        **same,
        "distance": Tolerance(hi_at_least=half_pixel),
        "retention": Tolerance(lo_at_most=1.0 - half_object, hi_at_least=1.0 + half_object),
        "motion": Tolerance(factor=1.2),
        "sharpness": Tolerance(factor=1.2),
        "contrast": Tolerance(factor=1.2),
    }


def real_extremes(world: DecodableWorld, judging: Judging, seed: int, mesh: Mesh | None = None) -> Extremes:
    """Runs the world itself for `max_frames` frames through the monitor that evaluates generators."""
    monitor = Monitor(statistics=world_statistics(world), window=judging.window, max_frames=judging.max_frames)
    frames = monitor.statistics.context_frames

    def extremes(params: Params, keys: RowKeys, key: PRNGKey, first: Scalar) -> Extremes:
        del params, key, first  # the world has no parameters, and every row its own key
        states = jax.vmap(world.initial)(keys)
        advance = jax.vmap(world.advance)
        shown = []
        for i in range(max(frames, 2)):
            states = advance(states, jax.vmap(jax.random.fold_in, (0, None))(keys, i))
            shown.append(jax.vmap(world.render)(states))

        def step(carry: Any) -> tuple[Any, Any]:
            states, i = carry
            states = advance(states, jax.vmap(jax.random.fold_in, (0, None))(keys, i))
            return (states, i + 1), jax.vmap(world.render)(states)

        carry = (states, jnp.int32(len(shown)))
        return measure_stream(monitor, jnp.stack(shown, axis=1), step, carry, judging.max_frames).extremes

    key = jax.random.key(seed)
    run = split_over_devices(extremes, make_mesh() if mesh is None else mesh)
    seen: Extremes = fetch(run({}, jax.random.split(key, judging.real_rollouts), key))
    return seen


def world_bands(name: str, world: DecodableWorld, objects: int, judging: Judging) -> Bands:
    """The committed bands of a world, or new ones, which are then filed to be committed."""
    path = BANDS / f"{name}-{judging.max_frames}-{judging.window}.json"
    made_of = {"world": repr(world), "judging": dataclasses.asdict(judging) | {"rollouts": None}}
    if path.exists() and (record := read_json(path))["made_of"] == made_of:
        bands = Bands.from_json(record["bands"])
        if set(bands.statistics) == set(world_statistics(world).names):
            return bands
    bands = calibrate(
        real_extremes(world, judging, CALIBRATION_SEED),
        real_extremes(world, judging, CHECK_SEED),
        window=judging.window,
        max_frames=judging.max_frames,
        tolerances=world_tolerances(world, objects),
    )
    if is_first_host():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"made_of": made_of, "bands": bands.to_json()})
    return bands


def judge(
    generator: Generator,
    monitor: Monitor,
    params: Params,
    context: Frames,
    key: PRNGKey,
    mesh: Mesh | None = None,
) -> Measurement:
    """One evaluation: rollouts from `context` through the monitor, to its last frame or a little past it.

    The devices of the mesh, all unless given, share the rollouts; so they do in all that follows here.
    """
    frames = -(-monitor.max_frames // generator.chunk_frames) * generator.chunk_frames
    seen: Measurement = stream(
        generator, params, context, key, frames, monitor, mesh=make_mesh() if mesh is None else mesh
    )
    return seen


def probes(
    generator: Generator,
    params: Params,
    starts: Frames,
    other: tuple[Frames, Frames] | None,
    key: PRNGKey,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """Returns how a generator answers foreign errors, and how diverse its rollouts are, for a cell.

    Args:
        generator: what is probed.
        params: its parameters.
        starts: real starts of rollouts, `[rows, frames, h, w, c]`.
        other: from `other_errors`, or None where no other model was trained.
        key: of errors and rollouts.
        mesh: see `judge`.
    """
    mesh = make_mesh() if mesh is None else mesh
    seen = {
        name: response(generator, params, starts[:PROBE_ROWS], foreign, key, PROBE_FRAMES, mesh=mesh)
        for name, foreign in FOREIGN.items()
    }
    if other is not None:
        real, wrong = (clip[:, -generator.context_frames :] for clip in other)
        seen[OTHER_MODELS] = response_between(generator, params, real, wrong, key, PROBE_FRAMES, mesh=mesh)
    spread = fetch(diversity(generator, params, starts[:8], key, mesh=mesh))
    shown = {name: [float(f"{value:.3g}") for value in values] for name, values in fetch(seen).items()}
    return {"frames": list(PROBE_FRAMES), "responses": shown, "diversity": float(f"{float(spread):.3g}")}


def other_errors(
    other: Generator, params: Params, source: ClipSource, context: int, mesh: Mesh | None = None
) -> tuple[Frames, Frames]:
    """Clips that nothing trained on, real and with another model's errors, for generators of up to `context` frames."""
    real = source.batch(0, PROBE_ROWS, max(context, other.context_frames) + OTHER_AGE).clip
    mesh = make_mesh() if mesh is None else mesh
    wrong = rolled_over(other, params, real, OTHER_AGE, jax.random.key(8), mesh=mesh)
    return jnp.asarray(fetch(real)), jnp.asarray(fetch(wrong))


def held_out_loss(
    generator: Generator, params: Params, source: ClipSource, rows: int = 256, mesh: Mesh | None = None
) -> float:
    """Teacher-forced loss on clips that nothing trained on, the same rows and noise for every method."""
    batch = source.batch(0, rows, generator.context_frames + generator.chunk_frames)
    key = jax.random.key(7)
    losses = kept(_held_out_losses, generator, make_mesh() if mesh is None else mesh)
    return float(fetch(losses(params, (batch, jax.random.split(key, rows)), key)).mean())


def _held_out_losses(generator: Generator, mesh: Mesh) -> Callable[..., Any]:
    # The batch is an argument: as a constant, what is made of it alone, such as its codes, is folded for minutes.
    def losses(params: Params, rows: tuple[Batch, RowKeys], key: PRNGKey, first: Scalar) -> Any:
        del key, first
        return generator.fit(params, clean_example(generator, *rows)).loss

    return split_over_devices(losses, mesh)


def strip_frames(
    generator: Generator, params: Params, context: Frames, key: PRNGKey, frames: int, mesh: Mesh | None = None
) -> np.ndarray:
    """Rollouts with every frame kept, as uint8 `[b, frames, h, w, c]`, for pictures."""
    made = -(-frames // generator.chunk_frames) * generator.chunk_frames
    out = fetch(rollout(generator, params, context, key, made, mesh=make_mesh() if mesh is None else mesh))
    return np.round((np.clip(out[:, :frames], -1.0, 1.0) + 1.0) * np.float32(127.5)).astype(np.uint8)


def start_context(world: DecodableWorld, frames: int, rows: int) -> Frames:
    """Real starts of evaluated rollouts, `[rows, frames, h, w, c]`."""
    return WorldClips(world=world, seed=START_SEED).batch(0, rows, frames).clip


def true_pace(world: DecodableWorld, frames: int, rows: int) -> np.ndarray:
    """Motion of the real continuations of `start_context`, `[rows]`, see `drift.memory`."""
    source = WorldClips(world=world, seed=START_SEED)
    last = jax.jit(lambda: pace(source.batch(0, rows, frames + PACE_FRAMES).clip[:, frames - 1 :]))
    return np.asarray(last())


def with_memory(cell: Mapping[str, Any], evaluator: Evaluator) -> dict[str, Any]:
    """A cell with the memory of its rollouts, where their curves and the motion of their starts are known."""
    motion = curve_of(cell, "motion")
    rows = {values.size for values in motion.values()}
    if evaluator.pace is None or rows != {len(evaluator.starts)}:
        return dict(cell)
    return {**cell, "memory": memory(motion, evaluator.pace(), exits_of(cell).exit_frame)}


def footage_windows(clips: ArrayClips, frames: int, count: int) -> Frames:
    """The half of windows with more motion, spread evenly over all that the clips have, `[count, frames, h, w, c]`.

    Recorded things rest at times. Where resting windows counted, a rollout that freezes would be like real video.
    """
    there = clips.windows(frames)
    places = np.linspace(0, there - 1, 2 * count).astype(int)
    windows = np.stack([clips.window(int(i), frames)[0] for i in places])
    motion = np.square(np.diff(windows, axis=1)).mean(axis=(1, 2, 3, 4))
    return jnp.asarray(windows[np.sort(np.argsort(motion)[-count:])])


def footage_bands(calibration: ArrayClips, check: ArrayClips, statistics: Statistics, judging: Judging) -> Bands:
    """Bands of recorded video, from one part of the held-out clips and checked on the other."""
    monitor = Monitor(statistics=statistics, window=judging.window, max_frames=judging.max_frames)
    context = statistics.context_frames

    def measured(params: Params, windows: Frames, key: PRNGKey, first: Scalar) -> Extremes:
        del params, key, first
        seen: Extremes = measure(monitor, windows[:, :context], windows[:, context:]).extremes
        return seen

    over_devices = split_over_devices(measured, make_mesh())

    def extremes(clips: ArrayClips) -> Extremes:
        windows = footage_windows(clips, context + judging.max_frames, judging.real_rollouts)
        seen: Extremes = fetch(over_devices({}, windows, jax.random.key(0)))
        return seen

    return calibrate(
        extremes(calibration),
        extremes(check),
        window=judging.window,
        max_frames=judging.max_frames,
        tolerances=recorded_tolerances(statistics),
    )


def cell_measurement(monitor: Monitor, measurement: Measurement) -> dict[str, Any]:
    """The measured part of a result file's cell."""
    return measured(monitor, jax.device_get(measurement))
