"""From nothing to a generator that stays stable, in minutes: train, recycle, look, save.

A small flow generator of a bouncing ball is trained for half of the compute and recycled for the other half. The report
sets it beside the same generator trained on real history for all of the compute, both from the same real starts, and
beside what it was before recycling.

    python -m experiments.quickstart

Expected: after training alone the ball slows down, swells and is lost within some hundred frames; after recycling most
rollouts last to the end. One run of one seed shows what recycling does; `docs/results` has the evidence.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import recycle_jax as rj
from recycle_jax.cli import launch
from recycle_jax.io.workdir import open_workdir


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes; `updates` before recycling and `recycling_updates` of it cost as much as `plain_updates` of training."""

    size: int = 32
    width: int = 32
    updates: int = 2000
    recycling_updates: int = 3400
    plain_updates: int = 5850
    batch_size: int = 32
    frames: int = 1024
    rollouts: int = 64
    seed: int = 0
    recycling: rj.Recycling = rj.histories.recycle().recycling


def smoke() -> Config:
    """Through the same code in about a minute."""
    recycling = rj.Recycling(chains=8, max_age=4, capacity=64, harvest_every=10)
    return Config(
        size=16, width=8, updates=20, recycling_updates=20, plain_updates=40, frames=64, rollouts=8, recycling=recycling
    )


FULL = functools.partial(Config, width=64, rollouts=256)
PRESETS: dict[str, Callable[[], Config]] = {"smoke": smoke, "small": Config, "full": FULL, "pod": FULL}


def main(config: Config, workdir: Path, preset: str) -> rj.Horizon:
    """Runs the experiment; the work directory gets the report, the generator and a video."""
    del preset
    folder = open_workdir(workdir, config)
    clips = rj.data.WorldClips(world=rj.data.BouncingBalls(size=config.size))
    held_out = dataclasses.replace(clips, seed=1)
    network = rj.models.velocity_unet(
        shape=clips.shape, context_frames=2, chunk_frames=1, width=config.width, patch=config.size // 8
    )
    generator = rj.RectifiedFlow(network=network, context_frames=2, steps=2)

    train = functools.partial(rj.train, generator, clips, batch_size=config.batch_size, seed=config.seed)
    before = train(updates=config.updates, checkpoints=folder.checkpoints / "before")
    plain = train(updates=config.plain_updates, checkpoints=folder.checkpoints / "plain")
    result = rj.recycle(
        generator,
        before,
        clips,
        updates=config.recycling_updates,
        batch_size=config.batch_size,
        recycling=config.recycling,
        seed=config.seed,
        checkpoints=folder.checkpoints / "recycled",
        log=folder.log,
    )
    others = {"before recycling": (generator, before), "trained on instead": (generator, plain)}
    horizon = rj.horizon(
        result.generator,
        result.params,
        held_out,
        frames=config.frames,
        rollouts=config.rollouts,
        others=others,
        name="recycled",
    )
    start = held_out.batch(0, 4, 2).clip
    rj.save(result.generator, result.params, folder.path / "generator")
    rj.stream(result.generator, result.params, start, config.frames, to=folder.path / "recycled.mp4")
    horizon.save(folder.report, notes=[f"The generator lies in {folder.path / 'generator'}: rj.load opens it."])
    print(horizon)
    return horizon


if __name__ == "__main__":
    launch(main, PRESETS, name="quickstart")
