"""The moving picture of the README: the same starts, real, before recycling, trained on instead, and recycled.

    python -m experiments.comparison.front_picture --to docs/assets/before_after.gif

A predictor of moving digits as in the comparison, seed 0, not chosen: teacher forcing for 2,000 updates; from there
recycling for 3,400; beside it teacher forcing from scratch for 5,850, which costs as much as both. All at the same
learning rate. About eight minutes on two idle cores.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import recycle_jax as rj
from experiments.comparison.domains import WORLDS
from recycle_jax.cli import launch
from recycle_jax.io.files import replacing
from recycle_jax.io.video import side_by_side, to_uint8
from recycle_jax.io.workdir import open_workdir


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of training and of the picture; `every` is the step between the frames that are shown."""

    updates: int = 2000
    recycling_updates: int = 3400
    plain_updates: int = 5850
    batch_size: int = 32
    frames: int = 240
    every: int = 2
    rows: int = 3
    scale: int = 3
    seed: int = 0
    to: str = ""


def smoke() -> Config:
    """Through the same code in a minute."""
    return Config(updates=4, recycling_updates=4, plain_updates=4, frames=8)


PRESETS: dict[str, Callable[[], Config]] = {"smoke": smoke, "small": Config}


def main(config: Config, workdir: Path, preset: str) -> Path:
    """Trains what the workdir does not hold yet, and writes the picture."""
    del preset
    folder = open_workdir(workdir, dataclasses.replace(config, to=""))
    clips = rj.data.WorldClips(world=WORLDS["digits"])
    network = rj.models.frame_unet(shape=clips.shape, context_frames=2, chunk_frames=1, width=32, patch=4)
    generator = rj.Predictor(network=network, context_frames=2)
    shared: dict[str, Any] = {"batch_size": config.batch_size, "seed": config.seed}
    train = functools.partial(rj.train, generator, clips, **shared)
    before = train(updates=config.updates, checkpoints=folder.checkpoints / "before")
    plain = train(updates=config.plain_updates, checkpoints=folder.checkpoints / "plain")
    checkpoints = folder.checkpoints / "recycled"
    result = rj.recycle(generator, before, clips, updates=config.recycling_updates, checkpoints=checkpoints, **shared)
    real = dataclasses.replace(clips, seed=1).batch(0, config.rows, 2 + config.frames).clip
    shown = {"real video": real[:, 2:]}
    for name, params in {"before": before, "trained on instead": plain, "recycled": result.params}.items():
        shown[name] = rj.rollout(generator, params, real[:, :2], config.frames)
    path = Path(config.to) if config.to else folder.path / "before_after.gif"
    return write_gif(path, {name: _stacked(frames)[:: config.every] for name, frames in shown.items()}, config.scale)


def write_gif(path: Path, columns: dict[str, np.ndarray], scale: int, fps: float = 12.5) -> Path:
    """Writes clips `[t, h, w, c]` side by side, each under its label, as one GIF of 16 colours that plays for ever."""
    pictures = [Image.fromarray(frame).quantize(16) for frame in side_by_side(columns, scale=scale)]
    with replacing(path) as temporary:
        pictures[0].save(temporary, save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0)
    return path


def _stacked(frames: Any) -> np.ndarray:
    """`[b, t, h, w, c]` one below the other, `[t, b h, w, c]` uint8, with a grey line between."""
    pixels = np.pad(to_uint8(frames), ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=70)
    return np.concatenate(list(pixels), axis=1)


if __name__ == "__main__":
    launch(main, PRESETS, name="front_picture")
