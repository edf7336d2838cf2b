"""What was found, in a sentence for each task, made from the summary of a result file."""

from collections.abc import Mapping
from typing import Any

from recycle_jax.report import wording
from recycle_jax.report.labels import Labels
from recycle_jax.report.tasks import by_task

QUESTION = (
    "A video generator that runs on its own output drifts: its errors feed its next step. For how many frames do its "
    "rollouts look like real video?"
)


def answer(results: Mapping[str, Any], labels: Labels) -> str:
    """Returns how long rollouts last in each task; which generator lasts longest, where there are several."""
    sentences = [
        f"{capital(task.title)}: {_longest(results['summary'], entries, labels)}"
        for task, entries in by_task(results["summary"], labels).items()
    ]
    return " ".join(sentences) or "Nothing has been measured yet."


def lasted(entry: Mapping[str, Any]) -> str:
    """Returns a horizon in words, with the share of real motion at the last frame that was watched."""
    record = entry.get("horizon_frames") or {}
    frames = wording.count(record.get("median"))
    text = f"{frames} frames or more" if record.get("lower_bound") else f"{frames} frames"
    motion = wording.share_of_motion(entry)
    return f"{text} ({motion})" if motion else text


def capital(text: str) -> str:
    """Returns a text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


def _longest(summary: Mapping[str, Mapping[str, Any]], entries: Mapping[str, str], labels: Labels) -> str:
    medians = {method: _median(summary[entry]) for method, entry in entries.items()}
    best = [method for method in medians if medians[method] == max(medians.values())]
    first, said = best[0], lasted(summary[entries[best[0]]])
    if len(entries) == 1:
        return f"with {labels.named(first)}, half of the rollouts look like real video for {said}."
    if len(best) > 1:
        names = ", ".join(labels.named(method) for method in best)
        return f"{len(best)} of {len(entries)} last equally long, {said}: {names}."
    return f"{labels.named(first)} lasts longest of {len(entries)}, {said}."


def _median(entry: Mapping[str, Any]) -> float:
    value = wording.number((entry.get("horizon_frames") or {}).get("median"))
    return -1.0 if value != value else value
