"""What the comparison adds to the report: its answer, overview, paired tests, domains, memory, probes and costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.comparison.labels import LABELS
from experiments.comparison.report.answer import answer, comparison_grid
from experiments.comparison.report.cost import cost_curves, cost_plot
from experiments.comparison.report.domains import domains_grid
from experiments.comparison.report.memory import memory_grid
from experiments.comparison.report.overview import overview_grid
from experiments.comparison.report.pareto import pareto_plot, pareto_points
from experiments.comparison.report.probes import probes_grid
from experiments.comparison.report.rounds import rounds_of_cell
from recycle_jax.report.build import Media, build_report, written
from recycle_jax.report.page import Block, Extras, Picture, Words
from recycle_jax.report.tasks import by_task, cells_of

SHOWS_ROUNDS = ("recycle", "ours", "ours:stopped")
"""Methods whose rounds are drawn."""


def build(
    results: Mapping[str, Any], folder: Path, media: Media, *, question: str, command: str, saved: str = ""
) -> Path:
    """Prints the table and writes the whole report of a comparison; returns the path of the page."""
    words = Words(question=question, answer=answer(results), command=command, saved=saved)
    return build_report(results, folder, media, labels=LABELS, words=words, extras=extras(results, folder))


def extras(results: Mapping[str, Any], folder: Path) -> Extras:
    """Returns the comparison's tables and plots; what was not measured is left out."""
    return Extras(
        first=_present(_overview(results)),
        compared=_present(_compared(results)),
        sections=_present(_domains(results), _memory(results), _probes(results)),
        cost=_present(_pareto(results, folder), _costs(results, folder), _rounds(results, folder)),
    )


def _present(*blocks: Block) -> list[Block]:
    return [block for block in blocks if block.grid is not None or block.pictures]


def _overview(results: Mapping[str, Any]) -> Block:
    text = (
        "Horizons at a glance: frames until half of the rollouts have left the bands of real video, in every world and "
        "with every generator. “Times B+” is the geometric mean over the tasks where a method was measured; the full "
        "table follows."
    )
    return Block(title="", text=text, grid=overview_grid(results))


def _compared(results: Mapping[str, Any]) -> Block:
    text = (
        "A ratio is the one median horizon over the other, with its 95 % interval; where the interval holds 1 there is "
        "no clear difference."
    )
    return Block(title="Compared with the rivals", text=text, grid=comparison_grid(results))


def _domains(results: Mapping[str, Any]) -> Block:
    text = (
        "How to read it: generators trained on one domain go on from starts of another. “Unseen, of B+” is the horizon "
        "there over that of B+ there: below 1 the method has cost generality. Disparity is the horizon on the own "
        "domain over that on the unseen one: 1 is even. Losses are of one step, over those of B+: above 1, one-step "
        "quality was paid for stability."
    )
    return Block(title="Video of a domain that was never seen", text=text, grid=domains_grid(results), anchor="domains")


def _memory(results: Mapping[str, Any]) -> Block:
    text = (
        "How to read it: the bands are of all real video, so rollouts that all move at the mean speed stay inside "
        "them. The motion of each rollout, averaged over windows, is therefore compared with that of the real "
        "continuation of its own start: the correlation over starts is 1 where each keeps its own pace and 0 where it "
        "is forgotten. The spread is that of rollouts over that of real video: below 1 they have become alike. Only "
        "rollouts inside their bands count, and nothing is said where fewer than eight are left."
    )
    title = "Memory: whether a rollout keeps its own pace"
    return Block(title=title, text=text, grid=memory_grid(results), anchor="memory")


def _probes(results: Mapping[str, Any]) -> Block:
    text = (
        "How to read it: a foreign error (white noise, blur, a tint) is put on real history, and what is left of it in "
        "the rollout is compared with what was put there: below 1 it dies out, above 1 it grows. Diversity compares "
        "rollouts of one start with those of different starts: 0 where all draws agree, 1 where the start is forgotten."
    )
    return Block(title="Foreign errors, and diversity", text=text, grid=probes_grid(results, LABELS), anchor="probes")


def _pareto(results: Mapping[str, Any], folder: Path) -> Block:
    text = (
        "Up and left is better. Heights are geometric means over tasks of the horizon over that of B+; hollow marks "
        "were not measured in all tasks and stand for fewer."
    )
    pictures = written(pareto_plot(pareto_points(results)), "all tasks", folder / "pareto.png")
    return Block(title="All methods", text=text, pictures=pictures)


def _costs(results: Mapping[str, Any], folder: Path) -> Block:
    text = (
        "Up and left is better. Bars are 95 % intervals of the horizon; points on the dotted line are lower bounds, "
        "since most rollouts outlasted the measurement."
    )
    pictures: list[Picture] = []
    for position, curve in enumerate(cost_curves(results["summary"])):
        pictures += written(cost_plot(curve.points, curve.max_frames), curve.title, folder / f"cost-{position}.png")
    return Block(title="Horizon against cost", text=text, pictures=pictures)


def _rounds(results: Mapping[str, Any], folder: Path) -> Block:
    text = (
        "A round is a few harvests and the corrections after them. The value is how far rollouts then were from their "
        "reference, lower is better; it can rise at first, while chains grow old. Where a rule stops recycling, the "
        "line is the best so far by which it went, and its reason stands in the title."
    )
    cells, pictures = cells_of(results), []
    for task, entries in by_task(cells, LABELS).items():
        for method in (name for name in SHOWS_ROUNDS if name in entries):
            cost = results["summary"][entries[method]].get("cost_over_B")
            stem = "".join(letter if letter.isalnum() else "-" for letter in method)
            pictures += _rounds_of(
                cells[entries[method]], cost, f"{task.title}, {LABELS.named(method)}", folder / f"{task.stem}-{stem}"
            )
    return Block(title="What each round of recycling brought", text=text, pictures=pictures)


def _rounds_of(cells: Sequence[Mapping[str, Any]], cost: Any, title: str, path: Path) -> list[Picture]:
    """The rounds of the first seed, where its cell tells of them."""
    first = cells[0]
    why = (first.get("rounds") or {}).get("stopped")
    title = f"{title}, seed {first['seed']}" + (f": {why}" if why else "")
    return written(rounds_of_cell(first, cost), title, path.with_name(f"rounds-{path.name}.png"))
