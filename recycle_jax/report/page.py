"""One self-contained HTML page: every picture and video lies inside it, and nothing is fetched."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from experiments.comparison.labels import known_methods, readable
from recycle_jax.report import details, wording
from recycle_jax.report.answer import QUESTION, answer, comparison_grid
from recycle_jax.report.domains import domains_grid
from recycle_jax.report.failures import ALL
from recycle_jax.report.grid import as_html
from recycle_jax.report.memory import memory_grid
from recycle_jax.report.overview import overview_grid
from recycle_jax.report.places import cells_of, split
from recycle_jax.report.tables import COLUMNS, html_table

TEMPLATE = "page.html.j2"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture or video of a page.

    Attributes:
        title: the place, in words.
        content: the `<svg>` element of a plot, or a `data:` address.
    """

    title: str
    content: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """All pictures of a page, each kind in the order of the places.

    Attributes:
        drift: drift plots.
        survival: survival plots.
        cost: plots of horizon against cost.
        pareto: all methods in one plot of horizon against cost.
        rounds: what each round of recycling brought for what it cost.
        filmstrips: PNG.
        videos: MP4.
    """

    drift: Sequence[Picture] = ()
    survival: Sequence[Picture] = ()
    cost: Sequence[Picture] = ()
    pareto: Sequence[Picture] = ()
    rounds: Sequence[Picture] = ()
    filmstrips: Sequence[Picture] = ()
    videos: Sequence[Picture] = ()


def data_address(content: bytes, kind: str) -> str:
    """Returns a file's content as a `data:` address of MIME type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def render(
    results: Mapping[str, Any],
    pictures: Pictures,
    *,
    question: str = QUESTION,
    command: str | None = None,
) -> str:
    """Returns the page of a result file.

    Args:
        results: the content of `results.json`.
        pictures: what the page shows; sections without pictures say so.
        question: what the experiment asks.
        command: what makes the results again; by default that of the experiment and preset.
    """
    comparison, probes, domains = comparison_grid(results), details.probes_grid(results), domains_grid(results)
    overview, memory = overview_grid(results), memory_grid(results)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=f"{readable(str(results.get('experiment') or 'experiment'))}: drift report",
        question=question,
        answer=answer(results),
        summary_table=html_table(results),
        comparison_table=as_html(comparison) if comparison else "",
        overview_table=as_html(overview) if overview else "",
        domains_table=as_html(domains) if domains else "",
        memory_table=as_html(memory) if memory else "",
        probes_table=as_html(probes) if probes else "",
        laws_table=as_html(details.laws_grid(results)),
        failures_table=as_html(details.failures_grid(results)),
        costs_table=as_html(details.costs_grid(results)),
        bands_table=as_html(details.bands_grid(results)),
        columns=COLUMNS,
        failures=ALL,
        methods=[m for m in known_methods(split(e)[1] for e in results["summary"]).values() if m.about],
        worlds=[_world(name, bands) for name, bands in (results.get("bands") or {}).items()],
        sample=_sample(results),
        origin=_origin(results),
        command=command or _command(results),
        pictures=pictures,
    )


def _command(results: Mapping[str, Any]) -> str:
    return f"python -m experiments.{results.get('experiment')} --preset {results.get('preset')}"


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
