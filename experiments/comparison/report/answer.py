"""The answer of a comparison in words, made from the `headline` of a result file.

A ratio of horizons is never said more strongly than it was measured: bounds are called bounds, and where both
sides outlasted the measurement it is a tie.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from experiments.comparison.labels import LABELS
from recycle_jax.report import wording
from recycle_jax.report.answer import answer as plain_answer
from recycle_jax.report.answer import capital, lasted
from recycle_jax.report.grid import Column, Entry, Grid, Section
from recycle_jax.report.tasks import Task

FEW = 4
"""As many rivals are named one by one."""

WIDELY = 0.25
"""A rival that was measured in fewer of the tasks than this share of the most is counted, and not named."""

LONGER, SHORTER = ("longer", "at_least"), ("shorter", "at_most")


def answer(results: Mapping[str, Any]) -> str:
    """Returns the answer of a result file in a few sentences; from the summary if nothing is compared."""
    ratios = {task: pairs for task, pairs in _ratios(results).items() if pairs}
    if not ratios:
        return plain_answer(results, LABELS)
    if len(ratios) > 1:
        return _over_tasks(ratios)
    task, pairs = next(iter(ratios.items()))
    return _at_one_task(results, task, pairs)


def comparison_grid(results: Mapping[str, Any]) -> Grid | None:
    """Returns every comparison of the headline as a table, or None where there is none."""
    columns = (
        Column(title="compared", number=False),
        Column(title="ratio of horizons"),
        Column(title="verdict", number=False),
    )
    sections = [
        Section(title=_title(task), rows=[_ratio_row(_against(label), row) for label, row in pairs.items()])
        for task, pairs in _ratios(results).items()
    ]
    paired = _paired(results)
    if paired:
        rows = [_paired_row(_against(label), row) for label, row in paired.items()]
        sections.append(Section(title="all worlds and generators, seed by seed", rows=rows))
    return Grid(columns=columns, sections=sections) if sections else None


def paired_grid(results: Mapping[str, Any]) -> Grid | None:
    """Returns one row a rival, over all worlds, generators and seeds that both have, or None where there is none."""
    columns = (
        Column(title="against", number=False),
        *(Column(title=title) for title in ("pairs", "longer", "equal", "shorter", "ratio", "p")),
    )
    rows = [
        [
            Entry(main=_named(_sides(label)[1])),
            *(Entry(main=str(test.get(count))) for count in ("pairs", "wins", "ties", "losses")),
            Entry(main=wording.times(test.get("ratio"))),
            Entry(main=wording.short(test.get("p"), 2)),
        ]
        for label, test in sorted(_paired(results).items(), key=lambda item: -int(item[1].get("pairs") or 0))
    ]
    return Grid(columns=columns, sections=[Section(title="", rows=rows)]) if rows else None


def _paired(results: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return (results.get("headline") or {}).get("paired") or {}


def _ratios(results: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return (results.get("headline") or {}).get("horizon_ratios") or {}


def _at_one_task(results: Mapping[str, Any], task: str, pairs: Mapping[str, Any]) -> str:
    """Says how long the method lasted, and how that compares with each rival, the first one in full."""
    (label, row), *others = pairs.items()
    method, rival = _sides(label)
    names = LABELS.of([method, rival])
    text = (
        f"With {names[method].name}, half of the rollouts stay realistic for "
        f"{_lasted(results, task, method)}; with {names[rival].name}, for {_lasted(results, task, rival)}. "
        f"{_sentence(row)}"
    )
    rest = [f"{_named(_sides(label)[1])}: {_phrase(row)}" for label, row in others]
    return f"{text} Against {'; against '.join(rest)}." if rest else text


def _over_tasks(ratios: Mapping[str, Mapping[str, Any]]) -> str:
    """Counts verdicts over tasks, for each rival."""
    labels = list(dict.fromkeys(label for pairs in ratios.values() for label in pairs))
    method = _named(_sides(labels[0])[0])
    rows = {label: [pairs[label] for pairs in ratios.values() if label in pairs] for label in labels}
    beaten = [label for label in labels if all(row.get("verdict") in LONGER for row in rows[label])]
    if len(labels) <= FEW or len(beaten) < 2:
        return f"{capital(method)} lasts longer than {'; than '.join(_tally(name, rows[name]) for name in labels)}."
    most = max(map(len, rows.values()))
    widely = {label for label in labels if len(rows[label]) >= WIDELY * most}
    everywhere = _listed([_named(_sides(label)[1]) for label in beaten if label in widely], len(beaten))
    rest = _in_part({label: rows[label] for label in labels if label not in beaten}, widely)
    return (
        f"{capital(method)} lasts longer than {len(beaten)} of {len(labels)} others wherever they were measured: "
        f"{everywhere}.{rest}"
    )


def _in_part(rows: Mapping[str, list[Mapping[str, Any]]], widely: Collection[str]) -> str:
    """Says of all rivals at once in how many tasks each is outlasted, most often first, and where one is not."""
    if not rows:
        return ""
    counts = {label: (_count(row, LONGER), _count(row, SHORTER), len(row)) for label, row in rows.items()}
    order = sorted(counts, key=lambda label: -counts[label][0] / counts[label][2])
    shares = {label: f"{_named(_sides(label)[1])} ({counts[label][0]} of {counts[label][2]})" for label in order}
    longer = _listed([shares[label] for label in order if label in widely], len(order))
    lost = [f"{_named(_sides(label)[1])} in {counts[label][1]}" for label in order if counts[label][1]]
    shorter = f"shorter than {'; '.join(lost)}" if lost else "shorter nowhere beyond doubt"
    behind = [f"{_named(_sides(label)[1])} ({n})" for label in order if (n := sum(map(_behind, rows[label])))]
    undecided = f"; its median is the shorter one against {'; '.join(behind)}" if behind else ""
    return (
        f" In some combinations of world and generator it outlasts {longer}. It is {shorter}. "
        f"The rest is undecided{undecided}."
    )


def _listed(named: Sequence[str], of: int) -> str:
    """Names in a row, and how many there are besides, which the table of comparisons has."""
    left = of - len(named)
    more = f"{left} more that {'was' if left == 1 else 'were'} measured in few tasks"
    return "; ".join([*named, f"and {more}" if named else more] if left else named)


def _behind(row: Mapping[str, Any]) -> bool:
    """Whether the intervals leave open who lasts longer, and the medians say the rival."""
    undecided = row.get("verdict") not in LONGER + SHORTER
    return undecided and not row.get("both_censored") and wording.number(row.get("ratio")) < 1.0


def _count(rows: list[Mapping[str, Any]], verdicts: tuple[str, str]) -> int:
    return sum(row.get("verdict") in verdicts for row in rows)


def _tally(label: str, rows: list[Mapping[str, Any]]) -> str:
    longer, shorter = _count(rows, LONGER), _count(rows, SHORTER)
    return (
        f"{_named(_sides(label)[1])} in {longer} of {len(rows)} combinations of world and generator, "
        f"shorter in {shorter}, undecided in {len(rows) - longer - shorter}"
    )


def _sentence(row: Mapping[str, Any]) -> str:
    ends = wording.between(row.get("ci95"))
    interval = f" (95 % interval {ends})" if ends and not row.get("both_censored") else ""
    return f"That is {_phrase(row)}{interval}."


def _phrase(row: Mapping[str, Any]) -> str:
    """Returns a ratio with what may be said of it."""
    factor = wording.times(row.get("ratio"))
    if row.get("both_censored"):
        return "a tie as far as was seen, both outlast the measurement"
    match row.get("verdict"):
        case "longer":
            return f"{factor} as long"
        case "at_least":
            return f"at least {factor} as long"
        case "shorter":
            return f"shorter, {factor} as long"
        case "at_most":
            return f"shorter, at most {factor} as long"
        case _:
            return f"no clear difference, {factor} as long"


def _ratio_row(compared: str, row: Mapping[str, Any]) -> list[Entry]:
    sign = {"at_least": "≥ ", "at_most": "≤ "}.get(str(row.get("verdict")), "")
    if row.get("both_censored"):
        verdict = "tie: both outlast the measurement"
    elif row.get("verdict") == "at_least":
        verdict = "longer; a lower bound, since most rollouts outlast the measurement"
    elif row.get("verdict") == "at_most":
        verdict = "shorter; an upper bound, since the rival outlasts the measurement"
    else:
        verdict = {"longer": "longer", "shorter": "shorter"}.get(str(row.get("verdict")), "no clear difference")
    ratio = Entry(main=sign + wording.times(row.get("ratio")), detail=wording.between(row.get("ci95")))
    return [Entry(main=compared), ratio, Entry(main=verdict)]


def _paired_row(compared: str, test: Mapping[str, Any]) -> list[Entry]:
    pairs = int(test.get("pairs") or 0)
    verdict = f"longer in {test.get('wins')}, shorter in {test.get('losses')}, equal in {test.get('ties')}"
    least = wording.short(2.0 ** (1 - pairs), 2)
    limit = f"; {pairs} pairs cannot give less than {least}" if 1 < pairs < 7 else ""
    p = f"sign-flip test: p = {wording.short(test.get('p'), 2)}{limit}" if pairs > 1 else "one pair: no test"
    ratio = Entry(main=wording.times(test.get("ratio")), detail="geometric mean")
    return [Entry(main=compared), ratio, Entry(main=verdict, detail=p)]


def _lasted(results: Mapping[str, Any], task: str, method: str) -> str:
    return lasted(results["summary"].get(f"{task}/{method}") or {})


def _sides(label: str) -> tuple[str, str]:
    method, _, rival = label.partition("_over_")
    return method, rival


def _against(label: str) -> str:
    method, rival = _sides(label)
    return f"{_named(method)} against {_named(rival)}"


def _named(method: str) -> str:
    return LABELS.named(method)


def _title(task: str) -> str:
    world, _, generator = task.partition("/")
    return Task(world=world, generator=generator).title
