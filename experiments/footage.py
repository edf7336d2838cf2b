"""From a folder of footage to a generator that goes on by itself: train, recycle, measure, save.

A small flow generator is trained on the clips for half of the compute and recycled for the other half. The report sets
it beside the generator before recycling. Training and saving do not depend on the measurement: where the held-out clips
are too few or too short for bands, the report says so and shows pictures.

    python -m experiments.footage --data FOLDER

FOLDER holds video files, in sub-folders where the domains differ. One long video is enough: what is held out is then
the end of it. Without `--data`, `smoke` renders a few clips of its own. About 15 minutes on two idle cores.

What to expect today: pictures of 32 x 32 turn into a near-still mosaic within about fifty frames, with recycling or
without. Read the share of real motion beside every horizon, and look at the frames.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import recycle_jax as rj
from experiments.footage_files import data_hash, frame_rate
from recycle_jax.cli import launch
from recycle_jax.io.video import write_mp4
from recycle_jax.io.workdir import open_workdir


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run depends on.

    Attributes:
        size: side of the frames.
        crop: cut the middle square, or squeeze the whole frame into it.
        fps: frames a second that the clips are read at; 0 as they are.
        held_out: share of the footage that nothing trains on.
        context: frames of history.
        width: channels of the network's finest level.
        tiles: tiles along each side of a frame.
        updates, recycling_updates: optimiser steps before recycling and of it.
        batch_size: clips a step.
        frames: of the rollouts that are measured.
        rollouts: how many.
        long_frames: of the video that is written.
        seed: of everything that is drawn.
        recycling: sizes of recycling.
    """

    size: int = 32
    crop: bool = False
    fps: float = 0.0
    held_out: float = 0.25
    context: int = 2
    width: int = 32
    tiles: int = 8
    updates: int = 1500
    recycling_updates: int = 2600
    batch_size: int = 32
    frames: int = 128
    rollouts: int = 64
    long_frames: int = 600
    seed: int = 0
    recycling: rj.Recycling = rj.histories.recycle().recycling


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What a command line can set.

    Attributes:
        data: folder of video files; `smoke` renders its own where it is empty.
        config: the experiment.
    """

    data: str = ""
    config: Config = Config()


def smoke() -> Command:
    """On forty rendered clips."""
    config = Config(
        size=16,
        width=8,
        updates=20,
        recycling_updates=20,
        batch_size=16,
        frames=16,
        rollouts=8,
        long_frames=40,
        recycling=rj.Recycling(chains=8, max_age=8, capacity=64),
    )
    return Command(config=config)


def full() -> Command:
    """One GPU, 64 x 64."""
    return Command(config=Config(size=64, width=96, tiles=16, updates=15_000, recycling_updates=26_000, batch_size=64))


PRESETS: dict[str, Callable[[], Command]] = {"smoke": smoke, "small": Command, "full": full, "pod": full}


def load(command: Command) -> rj.data.ArrayClips:
    """The clips of the folder; for `smoke` a folder of rendered ones, through the same reader."""
    config = command.config
    rule = rj.data.FrameRule(height=config.size, width=config.size, crop=config.crop, fps=config.fps or None)
    if command.data:
        return rj.data.load_folder(command.data, rule, min_frames=config.context + 1)
    if config.size != smoke().config.size:
        raise ValueError("footage needs --data FOLDER, a folder of video files; only --preset smoke makes its own")
    with tempfile.TemporaryDirectory() as folder:
        clips = rj.data.WorldClips(world=rj.data.BouncingBalls(size=config.size)).batch(0, 40, 48).clip
        for i, clip in enumerate(np.asarray(clips)):
            write_mp4(Path(folder) / "balls" / f"{i:03}.mp4", clip)
        return rj.data.load_folder(folder, rule, min_frames=config.context + 1, cache=Path(folder) / "cache")


def main(command: Command, workdir: Path, preset: str) -> rj.Horizon:
    """Runs the experiment; the work directory gets the report, the generator and a long video."""
    config = command.config
    del preset
    folder = open_workdir(workdir, config, data=data_hash(command.data))
    clips, held_out = rj.data.split_clips(load(command), config.held_out)
    network = rj.models.velocity_unet(
        shape=clips.shape,
        context_frames=config.context,
        chunk_frames=1,
        width=config.width,
        patch=config.size // config.tiles,
    )
    generator = rj.RectifiedFlow(network=network, context_frames=config.context, steps=2)
    shared: dict[str, Any] = {"batch_size": config.batch_size, "seed": config.seed, "log": folder.log}
    before = rj.train(generator, clips, updates=config.updates, checkpoints=folder.checkpoints / "before", **shared)
    result = rj.recycle(
        generator,
        before,
        clips,
        updates=config.recycling_updates,
        recycling=config.recycling,
        checkpoints=folder.checkpoints / "recycled",
        **shared,
    )
    rj.save(result.generator, result.params, folder.path / "generator")
    fps, start = config.fps or frame_rate(command.data), held_out.batch(0, 4, config.context).clip
    rj.stream(result.generator, result.params, start, config.long_frames, to=folder.path / "long.mp4", fps=fps)
    horizon = rj.horizon(
        result.generator,
        result.params,
        held_out,
        frames=config.frames,
        rollouts=config.rollouts,
        others={"before recycling": (generator, before)},
        name="recycled",
    )
    horizon.save(
        folder.report, fps=fps, notes=[f"The generator lies in {folder.path / 'generator'}: rj.load opens it."]
    )
    print(horizon)
    return horizon


if __name__ == "__main__":
    launch(main, PRESETS, name="footage")
