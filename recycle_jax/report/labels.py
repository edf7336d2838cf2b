"""How generators are called and drawn; given to a report, which knows no ids of its own.

Colours are Okabe and Ito's, which stay apart for colour-blind readers; markers tell lines apart in print. Ids without a
label are shown under their own name, with a spare colour and marker.
"""

import dataclasses
from collections.abc import Iterable, Mapping

INK = "#222222"
"""Colour of text, axes and real video in plots; a page in dark mode replaces it."""

REAL = "truth"
"""Id of real video among the rows of a filmstrip and the columns of a video."""

_SPARE = (
    *(("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "v"), ("#8C6BB1", "<"), ("#66828F", ">")),
    *(("#B08B5B", "d"), ("#5B8C7B", "H")),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Label:
    """How one generator is shown.

    Attributes:
        name: for tables, legends, pictures and videos alike.
        about: how it was trained, one sentence; may be empty.
        group: title under which it is described; may be empty.
        colour: `#rrggbb`.
        marker: of matplotlib.
        variant: whether it varies another one: plots with little room name it last.
    """

    name: str
    about: str = ""
    group: str = ""
    colour: str = INK
    marker: str = ""
    variant: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of a report.

    Attributes:
        known: id -> label, in the order of tables and legends; `ID+SHARE` is shown as `ID` with that share of the
            baseline's compute on top.
        always: ids that plots name before all others.
    """

    known: Mapping[str, Label] = dataclasses.field(default_factory=dict)
    always: tuple[str, ...] = ()

    def of(self, ids: Iterable[str]) -> dict[str, Label]:
        """Returns id -> label, in the order in which generators are listed everywhere."""
        present = sorted(set(ids), key=self.rank)
        strangers = [name for name in present if family(name) not in self.known and name != REAL]
        spare = {name: _SPARE[i % len(_SPARE)] for i, name in enumerate(strangers)}
        return {name: self._label(name, spare) for name in present}

    def covering(self, ids: Iterable[str]) -> "Labels":
        """Returns the labels with one for each of these ids, so that each has one look in all pictures."""
        return dataclasses.replace(self, known={**self.known, **self.of(ids)})

    def named(self, name: str) -> str:
        """Returns the name of one id."""
        return self.of([name])[name].name

    def rank(self, name: str) -> tuple[int, str]:
        """Returns what generators are sorted by: real video, known ones in their order, then others by name."""
        if name == REAL and name not in self.known:
            return (-1, name)
        usual = list(self.known)
        return (usual.index(family(name)) if family(name) in self.known else len(usual), name)

    def _label(self, name: str, spare: Mapping[str, tuple[str, str]]) -> Label:
        if name in self.known:
            return self.known[name]
        if name == REAL:
            return Label(name="real video")
        if family(name) in self.known:
            label, share = self.known[family(name)], name.partition("+")[2]
            return dataclasses.replace(label, name=f"{label.name}, {share} × B on top", about="")
        colour, marker = spare[name]
        return Label(name=readable(name), colour=colour, marker=marker)


def family(name: str) -> str:
    """Returns `ID` of `ID` and of `ID+SHARE`."""
    return name.partition("+")[0]


def readable(name: str) -> str:
    """Returns an id as words."""
    return name.replace("_", " ")
