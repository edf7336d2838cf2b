"""The loop: data, harvest, correct, log, watch, save; the only part of training that talks to the host.

Order of one step, fixed:

    1  harvest, where the step is a multiple of `harvest_every`
    2  batch(step), correct
    3  log, where a log interval ends: one device_get for all its steps
    4  watch, where a watch interval ends
    5  save, where a save interval ends, and on Ctrl-C or SIGTERM; several hosts stop together, after step 3

Everything random is folded from the step, and batches are addressed by step, so that a run that is stopped and
goes on from its last checkpoint makes the same numbers, bit for bit, as one that is not.
"""

import contextlib
import dataclasses
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh

from recycle_jax.data.base import ClipSource
from recycle_jax.histories.memories import bank_of, with_bank
from recycle_jax.io import checkpoint
from recycle_jax.io.lock import hold
from recycle_jax.io.progress import progress
from recycle_jax.sharding import is_first_host, largest_on_hosts
from recycle_jax.training.batches import placed_batch
from recycle_jax.training.harvest_step import HarvestProgram
from recycle_jax.training.interrupt import NAMES, Interrupted, deferred_interrupt
from recycle_jax.training.state import TrainState
from recycle_jax.training.step import Correct
from recycle_jax.typing import PyTree


@struct.dataclass(kw_only=True)
class RunState:
    """All that a run is: what a checkpoint holds.

    Attributes:
        train: parameters, optimiser, counters.
        bank: what the policy remembers: the error bank, alone or with more beside it (`histories.memories`), or None.
        chains: the harvest's persistent rollouts, or None.
    """

    train: TrainState
    bank: PyTree = None
    chains: PyTree = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long, how much, how often.

    Attributes:
        updates: optimiser steps.
        rows: clips a batch.
        frames: frames a clip.
        first_batch: number of the first batch, so that runs after each other see other data; None for what the phase
            starts with (`training.phases`), 0 in `run`.
        log_every: updates a log record covers.
        watch_every: updates between looks of the watch, 0 for none.
        save_every: updates between checkpoints, 0 for none but the last.
    """

    updates: int
    rows: int
    frames: int
    first_batch: int | None = None
    log_every: int = 100
    watch_every: int = 0
    save_every: int = 0

    def __post_init__(self) -> None:
        for name in ("updates", "rows", "frames", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1: raise it")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Harvesting:
    """The harvest of a run.

    Attributes:
        program: from `make_harvest`.
        reference: what rollouts are compared with.
        clips: where chains start.
        chains: how many.
        frames: frames of a start clip.
        every: updates between harvests.
    """

    program: HarvestProgram
    reference: PyTree
    clips: ClipSource
    chains: int
    frames: int
    every: int

    def due(self, step: int) -> bool:
        """Whether step `step` begins with a harvest."""
        return step % self.every == 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observer:
    """What a run tells the outside; every part may be left out.

    Attributes:
        log: takes one record an interval.
        watch: takes `(state, newest harvest metrics)`; answers with a reason to end the run here, or None.
        checkpoints: directory of the checkpoints, None to save nothing.
        label: of the progress bar, or of its lines in a log file; None for no progress.
    """

    log: Callable[[dict[str, Any]], None] | None = None
    watch: Callable[[RunState, dict[str, float]], str | None] | None = None
    checkpoints: Path | None = None
    label: str | None = "training"


def run(
    correct: Correct,
    state: RunState,
    source: ClipSource,
    schedule: Schedule,
    mesh: Mesh,
    harvesting: Harvesting | None = None,
    observer: Observer = Observer(),  # noqa: B008 (frozen)
) -> RunState:
    """Trains from `state.train.step` on to `schedule.updates`.

    Args:
        correct: from `make_correct`; donates the state.
        state: where to start: fresh, or from `resume`.
        source: of the training clips.
        schedule: how long.
        mesh: where batches go.
        harvesting: how the bank is filled, or None.
        observer: who is told.

    Returns:
        The state after the last update.

    Raises:
        FloatingPointError: where every step of a log interval was refused as not finite; the last good state is
            saved first.
        Interrupted: on Ctrl-C or SIGTERM, after saving.
        InUse: another process saves its checkpoints in the observer's directory.
    """
    start, first_batch = int(state.train.step), schedule.first_batch or 0
    log = observer.log if is_first_host() else None
    pending: list[dict[str, Any]] = []
    harvested: dict[str, Any] = {}
    clock = time.perf_counter()
    with (
        _writing(observer.checkpoints),
        deferred_interrupt() as interrupted,
        progress(observer.label, schedule.updates - start) as advance,
    ):
        for step in range(start, schedule.updates):
            if harvesting is not None and harvesting.due(step):
                state, harvested = _harvest(harvesting, state, first_batch + step, mesh)
            batch = placed_batch(source, first_batch + step, schedule.rows, schedule.frames, mesh)
            train, bank, metrics = correct(state.train, state.bank, batch)
            state = dataclasses.replace(state, train=train, bank=bank)
            pending.append(metrics)
            done = step + 1
            advance()
            logged = done % schedule.log_every == 0 or done == schedule.updates
            if logged:
                record = _record(pending, harvested, state.train, time.perf_counter() - clock)
                advance(0, f"loss {record['loss']:.3g}")
                pending, clock = [], time.perf_counter()
                if log is not None:
                    log(record)
                _require_finite(record, state, observer.checkpoints)
            reason = None
            if observer.watch and schedule.watch_every and done % schedule.watch_every == 0:
                reason = observer.watch(state, {name: float(value) for name, value in harvested.items()})
                if largest_on_hosts(reason is not None):
                    reason = reason or "another host stopped"
            if schedule.save_every and done % schedule.save_every == 0:
                save(observer.checkpoints, state)
            if number := _stops(interrupted, logged):
                raise _interrupt(state, observer.checkpoints, number)
            if reason:
                if log is not None:
                    log({"step": done, "stopped": reason})
                break
        saved = save(observer.checkpoints, state)
        if late := _stops(interrupted):
            raise _interrupted(state, saved, late)
    return state


def _stops(interrupted: Callable[[], int | None], logged: bool = True) -> int:
    """The signal to stop for after this step, 0 for none: several hosts agree where a log interval ends."""
    if jax.process_count() == 1:
        return interrupted() or 0
    return largest_on_hosts(interrupted() or 0) if logged else 0


def _writing(directory: Path | None) -> contextlib.AbstractContextManager[None]:
    """The first host is the one writer of its directory for the length of a run."""
    return hold(directory) if directory is not None and is_first_host() else contextlib.nullcontext()


def save(directory: Path | None, state: RunState) -> Path | None:
    """Saves a state under its own step; None where there is nowhere to save."""
    if directory is None:
        return None
    return checkpoint.save(directory, int(state.train.step), state)


def resume(directory: Path, fresh: RunState) -> RunState:
    """The newest checkpoint, or `fresh` where there is none; `fresh` also gives shapes and shardings."""
    if checkpoint.latest_step(directory) is None:
        return fresh
    return checkpoint.restore(directory, fresh)[1]


def _harvest(harvesting: Harvesting, state: RunState, number: int, mesh: Mesh) -> tuple[RunState, dict[str, Any]]:
    fresh = placed_batch(harvesting.clips, number, harvesting.chains, harvesting.frames, mesh)
    chains, bank, metrics = harvesting.program(
        state.train.params,
        harvesting.reference,
        state.chains,
        bank_of(state.bank),
        fresh,
        state.train.key,
        jnp.asarray(state.train.step, jnp.int32),
    )
    return dataclasses.replace(state, chains=chains, bank=with_bank(state.bank, bank)), metrics


def _record(
    pending: list[dict[str, Any]], harvested: dict[str, Any], train: TrainState, seconds: float
) -> dict[str, Any]:
    """Means over an interval; loss sums of clean and recycled rows become means of their own."""
    steps, harvest, refused, last = jax.device_get((pending, harvested, train.refused, train.last_refused))
    total = {name: float(np.nansum([m[name] for m in steps])) for name in steps[0]}
    record: dict[str, Any] = {"step": int(train.step), "seconds_per_update": seconds / len(steps)}
    record["loss"] = float(np.mean([m["loss"] for m in steps]))
    record["gradient_norm"] = float(np.mean([m["gradient_norm"] for m in steps]))
    for kind in ("clean", "recycled"):
        if total.get(f"rows_{kind}"):
            record[f"loss_{kind}"] = total[f"loss_{kind}_sum"] / total[f"rows_{kind}"]
    record["empty_draws"] = total["empty_draws"]
    record |= {f"harvest_{name}": float(value) for name, value in harvest.items()}
    if refused:
        record |= {"refused": int(refused), "last_refused": int(last)}
    finite = [np.isfinite(m["loss"]) and np.isfinite(m["gradient_norm"]) for m in steps]
    record["finite"] = float(np.mean(finite))
    return record


def _require_finite(record: dict[str, Any], state: RunState, directory: Path | None) -> None:
    if record["finite"] > 0.0:
        return
    saved = save(directory, state)
    raise FloatingPointError(
        "in no step of the last log interval were loss and gradient finite (newest refused step: "
        f"{record['last_refused']}); the last good state is "
        f"{f'saved in {saved}' if saved else 'not saved, without a workdir'}: look at the data of these steps, or "
        "lower the learning rate"
    )


def _interrupt(state: RunState, directory: Path | None, number: int) -> Interrupted:
    return _interrupted(state, save(directory, state), number)


def _interrupted(state: RunState, saved: Path | None, number: int) -> Interrupted:
    where = f"step {int(state.train.step)} is saved in {saved}" if saved else "nothing is saved without a workdir"
    name = NAMES[signal.Signals(number)]
    return Interrupted(f"stopped by {name}; {where}: run the same command again to go on from there", number)
