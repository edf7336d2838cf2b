"""From a result file's content to everything that a person looks at, in one call."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from recycle_jax.io.files import write_bytes
from recycle_jax.io.paths import as_path
from recycle_jax.io.progress import track
from recycle_jax.io.video import side_by_side, to_uint8, write_mp4
from recycle_jax.report import filmstrips, page, plots
from recycle_jax.report.filmstrips import Filmstrip
from recycle_jax.report.labels import Labels, readable
from recycle_jax.report.page import Extras, Picture, Pictures, Words, data_address
from recycle_jax.report.tables import summary_table
from recycle_jax.report.tasks import by_task, cells_of, split

CONSOLE_WIDTH = 100
"""Columns of the table where output goes to a file or a notebook, which tell no width: most show so many."""

BORDER = 70
"""Grey level around each clip of a video."""

BRIEF_BELOW = 130
"""Terminals with fewer columns get the brief table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Video:
    """A clip that shows generators side by side.

    Attributes:
        name: file name without its ending.
        title: the task, in words.
        columns: `truth` (real video) or an id -> `[t, h, w, c]` frames or an iterable of them, in the order shown.
        fps: frames a second, those of the footage where there is some.
        scale: how many times each pixel is enlarged; wide enough for the labels.
    """

    name: str
    title: str
    columns: Mapping[str, Any]
    fps: float = 12.0
    scale: int = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Media:
    """What a report shows besides numbers.

    Attributes:
        filmstrips: one a task.
        videos: one a task.
    """

    filmstrips: Sequence[Filmstrip] = ()
    videos: Sequence[Video] = ()


def build_report(
    results: Mapping[str, Any],
    workdir: str | os.PathLike[str],
    media: Media | None = None,
    *,
    labels: Labels = Labels(),  # noqa: B008 (frozen)
    words: Words = Words(),  # noqa: B008 (frozen)
    extras: Extras = Extras(),  # noqa: B008 (frozen)
    console: Console | None = None,
) -> Path:
    """Prints the table and where the page is, and writes plots, filmstrips, videos and `report.html`.

    Args:
        results: the content of `results.json`, fresh or read back.
        workdir: the run's directory.
        media: filmstrips and videos.
        labels: how generators are called and drawn, by their ids in the results.
        words: question, answer, how the results are made again, where the parameters lie.
        extras: tables and plots of the experiment's own.
        console: where the table is printed; by default standard output.

    Returns:
        The path of `report.html`, which holds everything and can be sent alone.

    Raises:
        ValueError: if filmstrips or videos have impossible shapes.
        OSError: unwritable or full disk, with the remedy.
    """
    folder, media, console = as_path(workdir), media or Media(), console or Console()
    labels = labels.covering(split(entry)[1] for entry in results["summary"])
    print_table(results, labels, console)
    pictures = Pictures(
        **_plots(results, labels, folder),
        filmstrips=[_filmstrip(strip, i, labels, folder) for i, strip in enumerate(media.filmstrips)],
        videos=[_video(video, labels, folder) for video in track(media.videos, "videos")],
    )
    path = write_bytes(folder / "report.html", page.render(results, pictures, labels, words, extras).encode())
    console.print(f"report: {path}", soft_wrap=True)
    return path


def print_table(results: Mapping[str, Any], labels: Labels, console: Console | None = None) -> None:
    """Prints the table of a result file."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=max(console.width, CONSOLE_WIDTH))
    console.print(summary_table(results, labels, brief=console.width < BRIEF_BELOW))


def _plots(results: Mapping[str, Any], labels: Labels, folder: Path) -> dict[str, list[Picture]]:
    """Draws every task's plots, writes them as PNG and returns them by the fields of `Pictures`."""
    summary, cells = results["summary"], cells_of(results)
    made: dict[str, list[Picture]] = {"drift": [], "motion": [], "survival": []}
    for task, entries in by_task(cells, labels).items():
        bands = (results.get("bands") or {}).get(task.world)
        members = {method: cells[entry] for method, entry in entries.items()}
        growths = {method: summary[entry].get("growth") or {} for method, entry in entries.items()}
        figures = {
            "drift": plots.drift_plot(members, growths, bands, labels),
            "motion": plots.motion_plot(members, bands, labels),
            "survival": plots.survival_plot(members, bands, labels),
        }
        for kind, figure in figures.items():
            made[kind] += written(figure, task.title, folder / f"{kind}-{task.stem}.png")
    return made


def written(figure: Figure | None, title: str, path: Path) -> list[Picture]:
    """Writes a figure as PNG and returns it as a picture of the page; nothing where there is no figure."""
    if figure is None:
        return []
    write_bytes(path, plots.to_png(figure))
    return [Picture(title=title, content=plots.to_svg(figure))]


def _filmstrip(strip: Filmstrip, number: int, labels: Labels, folder: Path) -> Picture:
    content = filmstrips.to_png(strip, labels)
    write_bytes(folder / f"filmstrip-{number}.png", content)
    return Picture(title=strip.title, content=data_address(content, "image/png"))


def _bordered(frames: Iterable[Any]) -> Iterator[np.ndarray]:
    """Sets frames off from each other and from the label: black frames on black have no edges."""
    for frame in frames:
        yield np.pad(to_uint8(frame), ((1, 1), (1, 1), (0, 0)), constant_values=BORDER)


def _video(video: Video, labels: Labels, folder: Path) -> Picture:
    names = labels.of(video.columns)
    labelled = {names[name].name: _bordered(frames) for name, frames in video.columns.items()}
    path = folder / f"{video.name}.mp4"
    write_mp4(path, side_by_side(labelled, scale=video.scale), fps=video.fps)
    title = f"{video.title or readable(video.name)}, from left to right: {', '.join(labelled)}; {video.fps:g} frames/s"
    return Picture(title=title, content=data_address(path.read_bytes(), "video/mp4"))
