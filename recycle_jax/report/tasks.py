"""The entries of a result file, sorted into tasks: one world, one generator, one way of running rollouts.

An entry's name is `WORLD/GENERATOR/METHOD[@DOMAIN][@FRAMES]`. What stands after `@` belongs to the task, so that
horizons of different limits or domains are never put side by side.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from recycle_jax.drift.summary import grouped
from recycle_jax.report.labels import Labels, readable
from recycle_jax.report.wording import count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Where generators are compared.

    Attributes:
        world: id of the world or data set.
        generator: id of the kind of generator.
        variant: `@DOMAIN` and `@FRAMES` of the entries' names, empty for the usual rollouts.
    """

    world: str
    generator: str
    variant: str = ""

    @property
    def title(self) -> str:
        """The task in words."""
        parts = [part for part in self.variant.split("@") if part]
        words = [f"{count(part)} frames" if part.isdigit() else f"shown {readable(part)}" for part in parts]
        return " · ".join([readable(self.world), readable(self.generator), *words])

    @property
    def stem(self) -> str:
        """The task in letters that any file system takes."""
        text = f"{self.world}-{self.generator}{self.variant}"
        return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text)


def shown_domain(task: Task) -> str:
    """The unseen domain that a task's variant names; numbers are lengths, and with one it is another measurement."""
    parts = [part for part in task.variant.split("@") if part]
    return parts[0] if len(parts) == 1 and not parts[0].isdigit() else ""


def split(entry: str) -> tuple[Task, str]:
    """Returns the task and the method of an entry's name.

    Raises:
        ValueError: if the name is not of the form above.
    """
    parts = entry.split("/", 2)
    if len(parts) < 3:
        raise ValueError(f"entry {entry!r} is not WORLD/GENERATOR/METHOD: give all three parts")
    method, at, variant = parts[2].partition("@")
    return Task(world=parts[0], generator=parts[1], variant=at + variant), method


def by_task(entries: Iterable[str], labels: Labels) -> dict[Task, dict[str, str]]:
    """Returns task -> method -> entry name; tasks as they come, methods in the order of the labels."""
    found: dict[Task, dict[str, str]] = {}
    for entry in entries:
        task, method = split(entry)
        found.setdefault(task, {})[method] = entry
    return {task: dict(sorted(of.items(), key=lambda item: labels.rank(item[0]))) for task, of in found.items()}


def cells_of(results: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Returns entry name -> its cells, under the names that the summary uses."""
    return dict(grouped(results.get("cells") or []))
