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
from recycle_jax.report.answer import QUESTION
from recycle_jax.report.filmstrips import Filmstrip
from recycle_jax.report.methods import Method, family, known_methods, readable
from recycle_jax.report.page import Picture, Pictures, data_address
from recycle_jax.report.pareto import pareto_plot, pareto_points
from recycle_jax.report.places import Place, by_place, cells_of, split
from recycle_jax.report.rounds import rounds_of_cell
from recycle_jax.report.tables import summary_table
from recycle_jax.report.wording import number

CONSOLE_WIDTH = 100
"""Columns of the table where output goes to a file or a notebook, which tell no width: most show so many."""

SHOWS_ROUNDS = ("recycle", "ours", "ours:stopped")
"""Methods whose rounds are drawn."""

BORDER = 70
"""Grey level around each clip of a video."""

BRIEF_BELOW = 130
"""Terminals with fewer columns get the brief table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Video:
    """A clip that shows methods side by side.

    Attributes:
        name: file name without its ending.
        title: the place, in words.
        columns: `truth` or a method id -> `[t, h, w, c]` frames or an iterable of them, in the order shown.
        fps: frames a second.
        scale: how many times each pixel is enlarged; wide enough for the labels.
    """

    name: str
    title: str
    columns: Mapping[str, Any]
    fps: float = 12.0
    scale: int = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostCurve:
    """Horizons of one place at several costs, as rounds of recycling or lengths of training give them.

    Attributes:
        title: the place, in words.
        points: method id -> (cost over B, median horizon, low end and high end of its interval).
        max_frames: frames watched.
    """

    title: str
    points: Mapping[str, Sequence[tuple[float, float, float, float]]]
    max_frames: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Media:
    """What a report shows besides numbers.

    Attributes:
        filmstrips: one a place.
        videos: one a place.
        cost_curves: by default from the summary, `METHOD` and `METHOD+SHARE` joined.
    """

    filmstrips: Sequence[Filmstrip] = ()
    videos: Sequence[Video] = ()
    cost_curves: Sequence[CostCurve] = ()


def build_report(
    results: Mapping[str, Any],
    workdir: str | os.PathLike[str],
    media: Media | None = None,
    *,
    question: str = QUESTION,
    command: str | None = None,
    console: Console | None = None,
) -> Path:
    """Prints the table, and writes plots, filmstrips, videos and `report.html`.

    Args:
        results: the content of `results.json`, fresh or read back.
        workdir: the run's directory.
        media: filmstrips, videos and cost curves.
        question: what the experiment asks, for a reader who has never seen the project.
        command: what makes the results again; by default that of the experiment and preset.
        console: where the table is printed; by default standard output.

    Returns:
        The path of `report.html`, which holds everything and can be sent alone.

    Raises:
        ValueError: if filmstrips or videos have impossible shapes.
        OSError: unwritable or full disk, with the remedy.
    """
    folder, media = as_path(workdir), media or Media()
    print_table(results, console)
    pictures = Pictures(
        **_plots(results, media, folder),
        filmstrips=[_filmstrip(strip, i, folder) for i, strip in enumerate(media.filmstrips)],
        videos=[_video(video, folder) for video in track(media.videos, "videos")],
    )
    text = page.render(results, pictures, question=question, command=command)
    return write_bytes(folder / "report.html", text.encode())


def print_table(results: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the table of a result file."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=max(console.width, CONSOLE_WIDTH))
    console.print(summary_table(results, brief=console.width < BRIEF_BELOW))


def _plots(results: Mapping[str, Any], media: Media, folder: Path) -> dict[str, list[Picture]]:
    """Draws every place's plots, writes them as PNG and returns them by the fields of `Pictures`."""
    summary, cells = results["summary"], cells_of(results)
    methods = known_methods(split(entry)[1] for entry in summary)
    made: dict[str, list[Picture]] = {"drift": [], "survival": [], "cost": [], "rounds": [], "pareto": []}
    points = pareto_points(results)
    made["pareto"] += _written(pareto_plot(points, known_methods(points)), "all places", folder / "pareto.png")
    for place, entries in by_place(cells).items():
        bands = (results.get("bands") or {}).get(place.world)
        members = {method: cells[entry] for method, entry in entries.items()}
        growths = {method: summary[entry].get("growth") or {} for method, entry in entries.items()}
        drift = plots.drift_plot(members, growths, bands, methods)
        made["drift"] += _written(drift, place.title, folder / f"drift-{place.stem}.png")
        survival = plots.survival_plot(members, bands, methods)
        made["survival"] += _written(survival, place.title, folder / f"survival-{place.stem}.png")
        made["rounds"] += _rounds(place, members, methods, folder)
    for position, curve in enumerate(media.cost_curves or _cost_curves(summary)):
        shown = known_methods(curve.points)
        figure = plots.cost_plot(curve.points, shown, curve.max_frames)
        made["cost"] += _written(figure, curve.title, folder / f"cost-{position}.png")
    return made


def _rounds(
    place: Place, members: Mapping[str, Sequence[Mapping[str, Any]]], methods: Mapping[str, Method], folder: Path
) -> list[Picture]:
    """Rounds of the first seed of the recipe and of what stops by itself, where cells tell of them."""
    pictures = []
    for method in (name for name in SHOWS_ROUNDS if name in members):
        first = members[method][0]
        why = (first.get("rounds") or {}).get("stopped")
        title = f"{place.title}, {methods[method].name}, seed {first['seed']}" + (f": {why}" if why else "")
        stem = "".join(letter if letter.isalnum() else "-" for letter in method)
        pictures += _written(rounds_of_cell(first), title, folder / f"rounds-{place.stem}-{stem}.png")
    return pictures


def _written(figure: Figure | None, title: str, path: Path) -> list[Picture]:
    if figure is None:
        return []
    write_bytes(path, plots.to_png(figure))
    return [Picture(title=title, content=plots.to_svg(figure))]


def _cost_curves(summary: Mapping[str, Mapping[str, Any]]) -> list[CostCurve]:
    return [_cost_curve(place, entries, summary) for place, entries in by_place(summary).items()]


def _cost_curve(place: Place, entries: Mapping[str, str], summary: Mapping[str, Mapping[str, Any]]) -> CostCurve:
    horizons = {method: summary[entry].get("horizon_frames") or {} for method, entry in entries.items()}
    points: dict[str, list[tuple[float, float, float, float]]] = {}
    for method, entry in entries.items():
        points.setdefault(family(method), []).append(_cost_point(summary[entry]))
    limits = [int(horizon["max_frames"]) for horizon in horizons.values() if horizon.get("max_frames")]
    return CostCurve(title=place.title, points=points, max_frames=max(limits, default=None))


def _cost_point(entry: Mapping[str, Any]) -> tuple[float, float, float, float]:
    horizon = entry.get("horizon_frames") or {}
    low, high = horizon.get("ci95") or (None, None)
    return number(entry.get("cost_over_B")), number(horizon.get("median")), number(low), number(high)


def _filmstrip(strip: Filmstrip, place: int, folder: Path) -> Picture:
    content = filmstrips.to_png(strip)
    write_bytes(folder / f"filmstrip-{place}.png", content)
    return Picture(title=strip.title, content=data_address(content, "image/png"))


def _bordered(frames: Iterable[Any]) -> Iterator[np.ndarray]:
    """Sets frames off from each other and from the label: black frames on black have no edges."""
    for frame in frames:
        yield np.pad(to_uint8(frame), ((1, 1), (1, 1), (0, 0)), constant_values=BORDER)


def _video(video: Video, folder: Path) -> Picture:
    names = known_methods(video.columns)
    labelled = {names[name].brief: _bordered(frames) for name, frames in video.columns.items()}
    path = folder / f"{video.name}.mp4"
    write_mp4(path, side_by_side(labelled, scale=video.scale), fps=video.fps)
    shown = ", ".join(names[name].name for name in video.columns)
    title = f"{video.title}, from left to right: {shown}" if video.title else readable(video.name)
    return Picture(title=title, content=data_address(path.read_bytes(), "video/mp4"))
