"""One self-contained HTML page: every picture and video lies inside it, and nothing is fetched."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from recycle_jax.drift.statistics import DISTANCE
from recycle_jax.report import details, wording
from recycle_jax.report.answer import QUESTION, answer
from recycle_jax.report.failures import ALL
from recycle_jax.report.grid import Grid, as_html
from recycle_jax.report.labels import Label, Labels, readable
from recycle_jax.report.tables import summary_grid
from recycle_jax.report.tasks import cells_of, split

TEMPLATE = "page.html.j2"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture or video of a page.

    Attributes:
        title: the task, in words.
        content: the `<svg>` element of a plot, or a `data:` address.
    """

    title: str
    content: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """All pictures of a page, each kind in the order of the tasks.

    Attributes:
        drift: plots of the off-manifold distance.
        motion: plots of motion over real video's.
        survival: survival plots.
        filmstrips: PNG.
        videos: MP4.
    """

    drift: Sequence[Picture] = ()
    motion: Sequence[Picture] = ()
    survival: Sequence[Picture] = ()
    filmstrips: Sequence[Picture] = ()
    videos: Sequence[Picture] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """Something that an experiment adds to the page.

    Attributes:
        title: its heading; may be empty.
        text: how to read it.
        grid: a table, or None.
        pictures: plots below the table.
        anchor: id of the section, for blocks that are sections of their own.
    """

    title: str
    text: str = ""
    grid: Grid | None = None
    pictures: Sequence[Picture] = ()
    anchor: str = ""

    @property
    def table(self) -> str:
        """The table as HTML."""
        return as_html(self.grid) if self.grid else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extras:
    """What an experiment adds, and where it stands.

    Attributes:
        first: at the head of the results, before the full table.
        compared: below the full table.
        sections: sections of their own, after survival.
        cost: at the end of the section on cost.
    """

    first: Sequence[Block] = ()
    compared: Sequence[Block] = ()
    sections: Sequence[Block] = ()
    cost: Sequence[Block] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Words:
    """What a page says besides numbers.

    Attributes:
        question: what was asked, for a reader who has never seen the project.
        answer: in a few sentences; by default from the summary.
        command: what makes the results again, everything that was set included; by default that of the preset.
        saved: where the generators' parameters lie, and how they are opened again; may be empty.
    """

    question: str = QUESTION
    answer: str = ""
    command: str = ""
    saved: str = ""


def data_address(content: bytes, kind: str) -> str:
    """Returns a file's content as a `data:` address of MIME type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def render(
    results: Mapping[str, Any],
    pictures: Pictures,
    labels: Labels = Labels(),  # noqa: B008 (frozen)
    words: Words = Words(),  # noqa: B008 (frozen)
    extras: Extras = Extras(),  # noqa: B008 (frozen)
) -> str:
    """Returns the page of a result file.

    Args:
        results: the content of `results.json`.
        pictures: what the page shows; sections of which nothing was measured are left out.
        labels: how generators are called and drawn.
        words: question, answer, and how the results are made again.
        extras: tables and plots of the experiment's own.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown, summary = labels.of(split(entry)[1] for entry in results["summary"]), summary_grid(results, labels)
    return environment.get_template(TEMPLATE).render(
        title=f"{readable(str(results.get('experiment') or 'experiment'))}: drift report",
        question=words.question,
        answer=words.answer or answer(results, labels),
        summary_table=as_html(summary),
        laws_table=as_html(details.laws_grid(results, labels)),
        failures_table=as_html(details.failures_grid(results, labels)),
        costs_table=as_html(costs) if len((costs := details.costs_grid(results, labels)).columns) > 1 else "",
        bands_table=as_html(details.bands_grid(results)),
        columns=summary.columns,
        failures=ALL,
        groups=_groups(shown),
        worlds=[_world(name, bands) for name, bands in (results.get("bands") or {}).items()],
        recorded=_recorded(results),
        sample=_sample(results),
        origin=_origin(results),
        command=words.command or _command(results),
        saved=words.saved,
        pictures=pictures,
        extras=extras,
    )


def _groups(shown: Mapping[str, Label]) -> dict[str, list[Label]]:
    """Group -> labels that say something of their generator."""
    groups: dict[str, list[Label]] = {}
    for label in shown.values():
        if label.about:
            groups.setdefault(label.group, []).append(label)
    return groups


def _command(results: Mapping[str, Any]) -> str:
    return f"python -m experiments.{results.get('experiment')} --preset {results.get('preset')}"


def _recorded(results: Mapping[str, Any]) -> bool:
    """Whether some world is recorded video, of which nobody knows the nearest valid frame."""
    return any(DISTANCE not in bands["statistics"] for bands in (results.get("bands") or {}).values())


def _world(name: str, bands: Mapping[str, Any]) -> dict[str, str]:
    return {
        "name": readable(name),
        "sha": str(bands.get("sha", wording.UNKNOWN)),
        "window": wording.count(bands.get("window")),
        "exits": wording.percent(bands.get("real_exit_fraction")),
        "frames": wording.count(bands.get("max_frames")),
    }


def _sample(results: Mapping[str, Any]) -> str:
    """Says how many trainings and rollouts the numbers rest on."""
    groups = cells_of(results)
    seeds = sorted({cell["seed"] for cells in groups.values() for cell in cells})
    sizes = sorted({len(c["rollouts"]["exit_frame"]) for cells in groups.values() for c in cells})
    frames = sorted({int(cell["max_frames"]) for cells in groups.values() for cell in cells})
    if not seeds:
        return "No rollouts have been measured yet."
    many = "" if len(seeds) > 1 else ": differences between trainings are not covered by the intervals"
    return (
        f"{len(seeds)} training {'seed' if len(seeds) == 1 else 'seeds'} ({_listed(seeds)}){many}; "
        f"{_listed(sizes)} rollouts of each, watched for {_listed(frames)} frames."
    )


def _origin(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = results.get("versions") or {}
    rows = [
        ("experiment", results.get("experiment")),
        ("preset", results.get("preset")),
        ("device", results.get("device")),
        ("source revision", results.get("git")),
        ("configuration hash", results.get("config_sha")),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("result format", results.get("schema_version")),
    ]
    return [(name, str(value) if value not in (None, "") else wording.UNKNOWN) for name, value in rows]


def _listed(values: Sequence[int]) -> str:
    texts = [wording.count(value) for value in values]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1]
