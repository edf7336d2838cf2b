"""Rollouts that are kept for pictures: the first of each method, of the first seed."""

from pathlib import Path

import numpy as np

from experiments.comparison.evaluation import strip_frames
from experiments.comparison.task import Task, Trained
from recycle_jax.io.files import replacing
from recycle_jax.io.paths import named
from recycle_jax.io.workdir import Workdir
from recycle_jax.report.build import Video
from recycle_jax.report.filmstrips import Filmstrip, columns
from recycle_jax.report.labels import REAL
from recycle_jax.typing import PRNGKey

VIDEO_FRAMES = 160
"""Frames of a video of the report."""


def save_picture(workdir: Workdir, task: Task, method: str, trained: Trained, key: PRNGKey, frames: int) -> None:
    """Writes the first rollout of a method."""
    generator = trained.generator or task.generator
    rolled = strip_frames(generator, trained.params, task.judge().starts[:1], key, frames)[0]
    with replacing(_path(workdir, task, method)) as temporary:
        np.savez_compressed(temporary, frames=rolled)


def pictures_of(workdir: Workdir, task: Task, methods: list[str], frames: int) -> dict[str, np.ndarray]:
    """Returns real video first, then every method's first rollout, uint8 `[t, h, w, c]`."""
    real = np.round((np.clip(task.truth(frames), -1.0, 1.0) + 1.0) * 127.5)
    paths = {method: _path(workdir, task, method) for method in methods}
    rollouts = {method: np.load(path)["frames"] for method, path in paths.items() if path.exists()}
    return {REAL: np.asarray(real, np.uint8), **rollouts}


def filmstrip_of(task: Task, kept: dict[str, np.ndarray], frames: int) -> Filmstrip:
    """Returns the filmstrip of a task."""
    numbers = [n for n in columns(frames) if n <= frames]
    rows = {name: clip[[n - 1 for n in numbers if n <= len(clip)]] for name, clip in kept.items()}
    return Filmstrip(title=f"{task.world}, {task.kind}", numbers=numbers, rows=rows)


def video_of(task: Task, kept: dict[str, np.ndarray], shown: tuple[str, ...]) -> Video:
    """Returns the video of a task: real video and these methods, at its frame rate."""
    clips = {name: clip[:VIDEO_FRAMES] for name, clip in kept.items() if name in (REAL, *shown)}
    shortest = min(map(len, clips.values()))
    return Video(
        name=f"{task.world}-{task.kind}",
        title=f"{task.world}, {task.kind}",
        columns={name: clip[:shortest] for name, clip in clips.items()},
        fps=task.fps,
    )


def _path(workdir: Workdir, task: Task, method: str) -> Path:
    return named(workdir.path / "pictures", f"{task.world}-{task.kind}-{method}.npz")
