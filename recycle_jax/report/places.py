"""The entries of a result file, sorted into places: one world, one generator, one way of running rollouts.

An entry's name is `WORLD/GENERATOR/METHOD[@DOMAIN][@FRAMES]`. What stands after `@` belongs to the place, so
that horizons of different limits or domains are never put side by side.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.comparison.labels import rank, readable
from recycle_jax.drift.summary import grouped
from recycle_jax.report.wording import count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where methods are compared.

    Attributes:
        world: id of the world or data set.
        generator: id of the generator.
        variant: `@DOMAIN` and `@FRAMES` of the entries' names, empty for the usual rollouts.
    """

    world: str
    generator: str
    variant: str = ""

    @property
    def title(self) -> str:
        """The place in words."""
        parts = [part for part in self.variant.split("@") if part]
        words = [f"{count(part)} frames" if part.isdigit() else f"shown {readable(part)}" for part in parts]
        return " · ".join([readable(self.world), readable(self.generator), *words])

    @property
    def stem(self) -> str:
        """The place in letters that any file system takes."""
        text = f"{self.world}-{self.generator}{self.variant}"
        return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text)


def shown_domain(place: Place) -> str:
    """The unseen domain that a place's variant names; numbers are lengths, and with one it is another measurement."""
    parts = [part for part in place.variant.split("@") if part]
    return parts[0] if len(parts) == 1 and not parts[0].isdigit() else ""


def split(entry: str) -> tuple[Place, str]:
    """Returns the place and the method of an entry's name.

    Raises:
        ValueError: if the name is not of the form above.
    """
    parts = entry.split("/", 2)
    if len(parts) < 3:
        raise ValueError(f"entry {entry!r} is not WORLD/GENERATOR/METHOD: give all three parts")
    method, at, variant = parts[2].partition("@")
    return Place(world=parts[0], generator=parts[1], variant=at + variant), method


def by_place(entries: Iterable[str]) -> dict[Place, dict[str, str]]:
    """Returns place -> method -> entry name; places as they come, methods in their usual order."""
    found: dict[Place, dict[str, str]] = {}
    for entry in entries:
        place, method = split(entry)
        found.setdefault(place, {})[method] = entry
    return {place: dict(sorted(methods.items(), key=lambda item: rank(item[0]))) for place, methods in found.items()}


def cells_of(results: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Returns entry name -> its cells, under the names that the summary uses."""
    return dict(grouped(results.get("cells") or []))
