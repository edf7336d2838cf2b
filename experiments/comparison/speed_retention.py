"""How does a generator hand on the speed of the clip that it continues, step by step?

Question: rollouts on a road stay within all bands and yet all drive alike after a while (`drift.memory`). Is a speed
lost at once or little by little, and by whom? The world reads from two neighbouring frames how far the camera drove;
regressed on the clip's own speed `v`, over many starts,

    driven(n) = slope(n) v + rest

slope and correlation are 1 for real video at every step `n`. A step that hands a speed on at slope s leaves s^n of it.

Expected: what forgets loses the same share at every step, the first step from real frames included.

    python -m experiments.comparison.speed_retention --workdir runs/compare

reads what `python -m experiments.compare --preset small` trained and kept there, on the predictor's road.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.comparison.domains import WORLDS
from experiments.comparison.evaluation import HELD_OUT_SEED, held_out_loss
from experiments.comparison.suite import Config as Comparison
from experiments.comparison.task import build_generator, world_source
from experiments.comparison.worlds.driving import Driving
from recycle_jax.cli import launch
from recycle_jax.generators.base import Generator
from recycle_jax.io import checkpoint
from recycle_jax.io.paths import as_path, named
from recycle_jax.io.workdir import run_metadata
from recycle_jax.io.writers import write_json
from recycle_jax.rollout.scan import rollout
from recycle_jax.typing import Clip, Frames, Params

STARTS_KEY = 777
"""Starts that neither training nor the comparison's judge draws."""

UNTRAINED = "untrained"
"""The network as it is before training, whose parameters no folder holds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run depends on.

    Attributes:
        runs: folders `{method}` and training seeds, of `workdir/trained/driving-predictor-{seed}-{method}`; what one
            method begins from is there by its own name.
        starts: rollouts of each.
        steps: at which steps speeds are read; from the eighth on the median over `averaged` of them.
        averaged: neighbouring steps, against single readings that are wrong.
        publish: where to write the result besides, or None.
    """

    runs: tuple[tuple[str, int], ...]
    starts: int = 256
    steps: tuple[int, ...] = (1, 2, 8, 32, 64, 124)
    averaged: int = 4
    publish: Path | None = None


def small() -> Config:
    """The recipe, its parts and what they begin from; one seed of each, whose parameters were kept."""
    return Config(
        runs=(
            ("relay-c1116398@2000", 2),
            ("b@2000,0.008", 0),
            ("relay_early:fast", 100),
            ("ours:relayed,fast", 2),
            ("ours", 0),
            ("ours:within,fast", 0),
            ("ours:within,unmended,fast", 0),
        )
    )


def smoke() -> Config:
    """A network that was never trained, a few starts, near steps."""
    return Config(runs=((UNTRAINED, 0),), starts=8, steps=(1, 2), averaged=1)


PRESETS: dict[str, Callable[[], Config]] = {"small": small, "smoke": smoke}


def trained(workdir: Path, generator: Generator, method: str, seed: int) -> Params:
    """Parameters that a comparison kept, or those of `UNTRAINED`.

    Raises:
        FileNotFoundError: if they are not there; says which command trains them.
    """
    if method == UNTRAINED:
        return generator.init(jax.random.key(seed))
    folder = named(as_path(workdir) / "trained", f"driving-predictor-{seed}-{method}")
    if not folder.exists():
        raise FileNotFoundError(
            f"{folder} is not there: train it with `python -m experiments.compare --preset small --workdir {workdir} "
            f"--config.seeds {seed} --share.worlds driving --share.methods {method}`, or leave it out of --runs"
        )
    restored: Params = checkpoint.restore(folder, jax.eval_shape(generator.init, jax.random.key(0)))[1]
    return restored


def starts_of(world: Driving, rows: int, frames: int) -> tuple[Frames, np.ndarray]:
    """Clips `[rows, frames, h, w, c]` and the speed `[rows]` of each, in units of the road a frame."""
    keys = jax.random.split(jax.random.key(STARTS_KEY), rows)
    states = jax.vmap(world.initial)(keys)
    shown, speed = [jax.vmap(world.render)(states)], np.asarray(states.speed)
    for _ in range(frames - 1):
        states = jax.vmap(world.advance)(states, keys)
        shown.append(jax.vmap(world.render)(states))
    return jnp.stack(shown, axis=1), speed


@functools.cache
def reader(world: Driving) -> Callable[[Frames, Frames], jax.Array]:
    """Two clips `[rows, n, h, w, c]` to how far the camera drove from each frame of the first to that of the second."""

    def of_clip(pair: tuple[Clip, Clip]) -> jax.Array:
        return jax.vmap(world.driven)(*pair)

    return jax.jit(lambda earlier, later: jax.lax.map(of_clip, (earlier, later)))


def regressed(speed: np.ndarray, driven: np.ndarray) -> dict[str, float]:
    """Correlation and slope of what was driven on the clip's speed, and the standard error of the slope."""
    x, y = speed - speed.mean(), driven - driven.mean()
    slope = float((x * y).sum() / (x * x).sum())
    rest = y - slope * x
    error = float(np.sqrt((rest**2).sum() / (x.size - 2) / (x * x).sum()))
    return {"correlation": float(np.corrcoef(x, y)[0, 1]), "slope": slope, "slope_error": error}


def handed_on(
    config: Config, world: Driving, generator: Generator, runs: Sequence[Params]
) -> Iterator[dict[str, dict[str, float]]]:
    """Regressions by step, run by run; step `n` is from the frame before to the `n`-th generated one."""
    clips, speed = starts_of(world, config.starts, generator.context_frames)
    spans = {n: config.averaged if n >= 8 else 1 for n in config.steps}
    read = np.array([n + i for n, wide in spans.items() for i in range(wide)])
    rolled = jax.jit(lambda params: rollout(generator, params, clips, jax.random.key(0), int(read.max())))
    for params in runs:
        shown = jnp.concatenate([clips[:, -1:], rolled(params)], axis=1)
        steps = np.asarray(reader(world)(shown[:, read - 1], shown[:, read]))
        seen = {n: np.median(steps[:, (read >= n) & (read < n + wide)], axis=1) for n, wide in spans.items()}
        yield {str(n): regressed(speed, driven) for n, driven in seen.items()}


def main(config: Config, workdir: Path, preset: str) -> dict[str, Any]:
    """Measures every run, writes `handed_on.json` in the work directory and prints a line of each."""
    world, comparison = WORLDS["driving"], Comparison()
    assert isinstance(world, Driving)
    generator = build_generator("predictor", world.shape, comparison.context, comparison.net)
    held_out = world_source(world)(HELD_OUT_SEED)
    found = [trained(workdir, generator, method, seed) for method, seed in config.runs]
    measured = handed_on(config, world, generator, found)
    rows = []
    for (method, seed), params, steps in zip(config.runs, found, measured, strict=True):
        loss = held_out_loss(generator, params, held_out)
        rows.append({"method": method, "seed": seed, "clean_loss": loss, "steps": steps})
        seen = ", ".join(f"{n}: {at['correlation']:.2f}, {at['slope']:.2f}" for n, at in steps.items())
        print(f"{method} (seed {seed}) one-step loss {loss:.4f}; correlation, slope at {seen}")
    results = {"experiment": "handed_on", "preset": preset, **run_metadata(config), "rows": rows}
    for path in filter(None, (workdir / "handed_on.json", config.publish)):
        write_json(path, results)
    return results


if __name__ == "__main__":
    launch(main, PRESETS, name="handed_on")
