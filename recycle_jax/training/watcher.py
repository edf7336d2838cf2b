"""The collapse watch at work: looks at a run once a round, warns, and keeps the best round.

Hand it to the loop as `Observer(watch=watcher)`, with `Schedule.watch_every` a multiple of the harvest's interval,
and take the parameters from `watcher.result(state)` afterwards. With a directory it survives the process: rounds
and best parameters are read again by the next run, and rounds that this run repeats are replaced.
"""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh

from recycle_jax.batch import Batch
from recycle_jax.drift.gain import gain
from recycle_jax.generators.base import Generator, clean_example, split_clip
from recycle_jax.io import checkpoint
from recycle_jax.io.writers import read_json, write_json
from recycle_jax.sharding import fetch, is_first_host, make_mesh, split_over_devices
from recycle_jax.training.cost import Cost, forward_flops
from recycle_jax.training.ema import ema_params
from recycle_jax.training.loop import RunState
from recycle_jax.training.watch import Best, Round, Watch
from recycle_jax.typing import Frames, Params, PRNGKey, RowKeys, Rows, Scalar

ROUNDS_FILE = "rounds.json"
PROBE = 0.02
"""Standard deviation of the white error whose gain is measured, in frame units."""


@dataclasses.dataclass(kw_only=True)
class Watcher:
    """A watch, what it has seen, and the best round so far.

    Attributes:
        generator: who is trained.
        batch: held-out clips, the same in every round.
        watch: the limits.
        directory: where rounds and best parameters are kept, None to keep them in memory only.
        mesh: the devices that share the held-out clips, None for all.
        rounds: what was seen, oldest first.
        best: the best of them, None before the first.
    """

    generator: Generator
    batch: Batch
    watch: Watch = dataclasses.field(default_factory=Watch)
    directory: Path | None = None
    mesh: Mesh | None = None
    rounds: list[Round] = dataclasses.field(default_factory=list)
    best: Best | None = None

    def __post_init__(self) -> None:
        split_clip(self.batch.clip, self.generator.context_frames, self.generator.chunk_frames)
        if not np.all(np.isfinite(self.batch.clip)):
            raise ValueError("the held-out clips hold NaN or Inf, which makes every loss NaN: clean or drop them")
        self._look = split_over_devices(look(self.generator), make_mesh() if self.mesh is None else self.mesh)
        self._probed = probed(self.generator, self.batch)

    def __call__(self, state: RunState, harvest: dict[str, float]) -> None:
        """Looks at a round, warns where something is wrong, and keeps the parameters if it is the best.

        Rounds without a harvest yet, such as the first after going on from a checkpoint, are passed over.
        """
        if not harvest:
            return
        seen = self._round(state, harvest)
        if self.directory is not None and not self.rounds:
            self._load(self.directory, ema_params(state.train))
        self.rounds = [*(earlier for earlier in self.rounds if earlier.step < seen.step), seen]
        if self.best is None or self.watch.better(seen, self.best.round, self.rounds[0]):
            # The next step donates its parameters: keep a copy.
            self.best = Best(round=seen, params=jax.tree.map(jnp.copy, ema_params(state.train)))
        if self.directory is not None:
            self._save(self.directory)
        for text in self.watch.warnings(self.rounds):
            warnings.warn(f"round {len(self.rounds)}, step {seen.step}: {text}", stacklevel=2)

    def result(self, state: RunState) -> Params:
        """The newest parameters, or the best round's if the newest round has collapsed."""
        if self.directory is not None and not self.rounds:
            self._load(self.directory, ema_params(state.train))
        if self.best is None or not self.watch.warnings(self.rounds):
            return ema_params(state.train)
        return self.best.params

    def cost(self, params: Params) -> Cost:
        """What looking has cost: a forward call and two rollout steps a row and round."""
        calls = len(self.rounds) * len(self.batch.clip) * (1.0 + 2.0 * self.generator.calls_per_step)
        flops = calls * forward_flops(self.generator, params, self.batch) if calls else 0.0
        return Cost(eval_flops_used_for_choices=flops)

    def _round(self, state: RunState, harvest: dict[str, float]) -> Round:
        losses, gains = fetch(self._look(ema_params(state.train), self._probed, state.train.key))
        return Round(
            step=int(state.train.step),
            clean_loss=float(losses.mean()),
            score=harvest["score"],
            accepted=harvest["accepted"],
            age=harvest["age"],
            gain=float(gains.mean()),
        )

    def _save(self, directory: Path) -> None:
        assert self.best is not None
        step = self.best.round.step
        if step == self.rounds[-1].step:
            checkpoint.save(directory, step, {"params": self.best.params}, keep=2)
        rounds = [dataclasses.asdict(seen) for seen in self.rounds]
        if is_first_host():
            write_json(directory / ROUNDS_FILE, {"rounds": rounds, "best": dataclasses.asdict(self.best.round)})

    def _load(self, directory: Path, like: Params) -> None:
        if not (directory / ROUNDS_FILE).exists():
            return
        kept = read_json(directory / ROUNDS_FILE)
        self.rounds = [_round(record) for record in kept["rounds"]]
        best = _round(kept["best"])
        _, restored = checkpoint.restore(directory, {"params": like}, step=best.step)
        self.best = Best(round=best, params=restored["params"])


@struct.dataclass(kw_only=True)
class Probed:
    """Held-out clips with the noise that they are looked at with, the same in every round; leaves `[b, ...]`.

    Attributes:
        batch: the clips.
        moved: their contexts with the white error.
        keys: of the loss.
        step_keys: of the generator's step.
    """

    batch: Batch
    moved: Frames
    keys: RowKeys
    step_keys: RowKeys


def probed(generator: Generator, batch: Batch) -> Probed:
    """What `look` is given of a batch."""
    of_fit, of_step, of_probe = jax.random.split(jax.random.key(7), 3)
    keys, step_keys = (jax.random.split(key, batch.clip.shape[0]) for key in (of_fit, of_step))
    context, _ = split_clip(batch.clip, generator.context_frames, generator.chunk_frames)
    moved = context + PROBE * jax.random.normal(of_probe, context.shape, context.dtype)
    return Probed(batch=batch, moved=moved, keys=keys, step_keys=step_keys)


def look(generator: Generator) -> Callable[[Params, Probed, PRNGKey, Scalar], tuple[Rows, Rows]]:
    """`params, probed -> (clean loss, gain)`, each `[b]`; the gain as in the middle of a rollout.

    The clips are an argument: as a constant, XLA would fold what is made of them alone, for minutes where that is much.
    """

    def both(params: Params, rows: Probed, key: PRNGKey, first: Scalar) -> tuple[Rows, Rows]:
        del key, first  # rows bring their own keys
        batch = rows.batch
        context, _ = split_clip(batch.clip, generator.context_frames, generator.chunk_frames)

        def newest(context: Any) -> Any:
            carry = generator.begin(params, context, batch.condition)
            return generator.step(params, carry, rows.step_keys, batch.condition)[1][:, -1]

        loss = generator.fit(params, clean_example(generator, batch, rows.keys)).loss
        return loss, gain(newest, context, rows.moved)

    return both


def _round(record: dict[str, Any]) -> Round:
    numbers = {name: _float(record[name]) for name in ("clean_loss", "score", "accepted", "age", "gain")}
    return Round(step=record["step"], **numbers)


def _float(value: float | str | None) -> float:
    """JSON has neither NaN nor Inf: `io.writers` spells them None and "Infinity"."""
    return float("nan") if value is None else float(value)
