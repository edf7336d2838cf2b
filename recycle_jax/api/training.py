"""`train` and `recycle`: from clips and a generator to a generator that stays stable on its own output."""

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from recycle_jax.api import defaults
from recycle_jax.api.defaults import as_source, fitting
from recycle_jax.data.base import ClipSource
from recycle_jax.errors.rollout.references import Reference
from recycle_jax.generators.base import Generator
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.memories import bank_of
from recycle_jax.histories.recipe import Recycling
from recycle_jax.histories.recipe import recycle as recipe
from recycle_jax.models.base import parameter_count
from recycle_jax.rollout.blocks import require_generator
from recycle_jax.sharding import make_mesh
from recycle_jax.training.ema import ema_params
from recycle_jax.training.loop import Observer, RunState, Schedule
from recycle_jax.training.phases import Adam, recycle_phase, train_phase
from recycle_jax.typing import Params

CHOICE_BATCH = 20_000_000
"""Number of the batch by which a flow's temperature is chosen."""

TRAIN_STREAM, RECYCLE_STREAM = 0, 2
"""Added to the seed, so that the two draw apart."""

Log = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recycled:
    """What recycling made.

    Attributes:
        params: to use: the moving average (EMA) of the parameters.
        generator: who was recycled: a flow in a world without chance samples at temperature 0.
        state: the whole state at the end: newest parameters, optimiser, error bank, chains.
        log: one record a log interval.
        learning_rate: the peak that was taken.
    """

    params: Params
    generator: Generator
    state: RunState
    log: Sequence[dict[str, Any]]
    learning_rate: float

    def __repr__(self) -> str:
        last: dict[str, Any] = dict(self.log[-1]) if self.log else {}
        bank = bank_of(self.state.bank)
        loss = (
            f"{last.get('loss_clean', np.nan):.3g} on real history, {last.get('loss_recycled', np.nan):.3g} on banked"
        )
        return (
            f"Recycled({parameter_count(self.params):,} parameters, {int(self.state.train.step)} updates; loss {loss}; "
            f"{int(np.sum(jax.device_get(bank.count)))} cases in the bank, "
            f"{last.get('harvest_accepted', np.nan):.0%} of the last harvest accepted; learning rate "
            f"{self.learning_rate:.3g})"
        )


def train(
    generator: Generator,
    clips: ClipSource | Sequence[np.ndarray],
    *,
    updates: int,
    batch_size: int = 32,
    params: Params | None = None,
    history: HistoryPolicy = TeacherForcing(),  # noqa: B008 (frozen)
    learning_rate: float | None = None,
    seed: int = 0,
    mesh: Mesh | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
    log: Log | None = None,
) -> Params:
    """Trains a generator without recycling, by teacher forcing unless told otherwise.

    Args:
        generator: what is trained.
        clips: a source of clips, or a list of arrays `[t, h, w, c]`.
        updates: optimiser steps.
        batch_size: clips a step, over all devices.
        params: to start from; fresh ones by default.
        history: how a step makes the context, see `rj.histories`.
        learning_rate: at the peak of a warm-up and cosine schedule of Adam; by default chosen by the size of the
            network and said on standard error, see `api.defaults.learning_rate`.
        seed: of parameters, batches and noise.
        mesh: of the devices to use, all by default.
        checkpoints: folder to save the state in; an interrupted call that is made again goes on from there.
        log: called with one record a log interval.

    Returns:
        The moving average (EMA) of the parameters.

    Raises:
        ValueError: if sizes do not fit the devices or clips are too short, before anything is trained.
    """
    require_generator(generator)
    source, shapes = as_source(clips), params
    if shapes is None:
        shapes = jax.eval_shape(generator.init, jax.random.key(0))
    rate = _chosen_rate("train", learning_rate, shapes, trained=params is not None)
    return train_phase(
        generator,
        history,
        source,
        _schedule(updates, batch_size, history.clip_frames(generator), checkpoints),
        jax.random.key(seed + TRAIN_STREAM),
        make_mesh() if mesh is None else mesh,
        params=params,
        adam=Adam(learning_rate=rate),
        observer=_observer("training", checkpoints, log, []),
    )


def recycle(
    generator: Generator,
    params: Params,
    clips: ClipSource | Sequence[np.ndarray],
    *,
    updates: int,
    batch_size: int = 32,
    reference: Reference | None = None,
    recycling: Recycling | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    mesh: Mesh | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
    log: Log | None = None,
) -> Recycled:
    """Trains a generator to recover from its own mistakes: rounds of rollout, comparison and correction.

    Args:
        generator: what is recycled.
        params: trained, or half trained; they are not changed.
        clips: a source of clips, or a list of arrays `[t, h, w, c]`, longer than a context and a chunk: rollouts are
            compared with what a clip shows next.
        updates: optimiser steps.
        batch_size: clips a step, over all devices.
        reference: what a rollout is compared with; by default the recorded clip moved onto the rollout
            (`rj.errors.Registered`), for pixels.
        recycling: sizes and rates; by default the recipe of `rj.histories.recycle`. Where the clips are too short for
            its `max_age`, that is lowered, and standard error says so.
        learning_rate, seed, mesh, checkpoints, log: as in `train`.

    Returns:
        `.params` to use with `.generator`, and the whole state.

    Raises:
        ValueError: if sizes do not fit the devices or clips are too short, before anything is trained.
        MemoryError: if the bank does not fit the devices; it names a capacity that would.
    """
    require_generator(generator)
    source, usual = as_source(clips), recipe()
    records: list[dict[str, Any]] = []
    reference = usual.reference if reference is None else reference
    recycling = fitting(usual.recycling if recycling is None else recycling, generator, reference, source)
    rate = _chosen_rate("recycle", learning_rate, params, trained=True)
    frames = generator.context_frames + generator.chunk_frames
    mesh = make_mesh() if mesh is None else mesh
    generator = usual.generator(generator, params, source.batch(CHOICE_BATCH, 64, frames), mesh)
    schedule = _schedule(updates, batch_size, frames, checkpoints)
    state = recycle_phase(
        generator,
        params,
        reference,
        source,
        recycling,
        schedule,
        jax.random.key(seed + RECYCLE_STREAM),
        mesh,
        adam=Adam(learning_rate=rate),
        observer=_observer("recycling", checkpoints, log, records),
    )
    return Recycled(
        params=ema_params(state.train), generator=generator, state=state, log=tuple(records), learning_rate=rate
    )


def _chosen_rate(call: str, given: float | None, params: Params, *, trained: bool) -> float:
    if given is not None:
        return given
    rate = defaults.learning_rate(params, trained=trained)
    print(
        f"{call}: learning_rate {rate:.2g}, for a network of {parameter_count(params):,} parameters"
        f"{' that is trained already' if trained else ''}",
        file=sys.stderr,
    )
    return rate


def _schedule(updates: int, rows: int, frames: int, checkpoints: str | os.PathLike[str] | None) -> Schedule:
    return Schedule(
        updates=updates,
        rows=rows,
        frames=frames,
        log_every=max(1, min(100, updates // 20)),
        save_every=0 if checkpoints is None else max(1, updates // 10),
    )


def _observer(
    label: str, checkpoints: str | os.PathLike[str] | None, log: Log | None, records: list[dict[str, Any]]
) -> Observer:
    def note(record: dict[str, Any]) -> None:
        records.append(record)
        if log is not None:
            log(record)

    return Observer(log=note, checkpoints=None if checkpoints is None else Path(checkpoints), label=label)
