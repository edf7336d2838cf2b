"""A table as plain content, and its three forms: console, Markdown, HTML.

One content for all three, so that what the console says is what the page says.
"""

import dataclasses
import html
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One field of a table.

    Attributes:
        main: what is read first.
        detail: an interval or remark in smaller type; may be empty.
    """

    main: str
    detail: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        title: a few words.
        meaning: one sentence for a reader who sees it for the first time.
        number: whether its fields are numbers, set to the right.
    """

    title: str
    meaning: str = ""
    number: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """Rows that belong together.

    Attributes:
        title: stands above the rows; may be empty.
        rows: fields in the order of the columns.
    """

    title: str
    rows: Sequence[Sequence[Entry]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """A table.

    Attributes:
        columns: from left to right.
        sections: from top to bottom.
    """

    columns: Sequence[Column]
    sections: Sequence[Section]

    def __post_init__(self) -> None:
        for section in self.sections:
            for row in section.rows:
                if len(row) != len(self.columns):
                    raise ValueError(
                        f"a row of {section.title!r} has {len(row)} fields for {len(self.columns)} columns: "
                        "give one field a column"
                    )


def drop_empty(grid: Grid, empty: str) -> Grid:
    """Returns the table without the columns, the first excepted, in which every field is `empty`."""
    rows = [row for section in grid.sections for row in section.rows]
    return _at(grid, [i for i in range(len(grid.columns)) if not i or any(r[i].main != empty for r in rows)])


def only(grid: Grid, titles: Sequence[str]) -> Grid:
    """Returns the table with the columns of these titles alone, in the order that they have."""
    return _at(grid, [i for i, column in enumerate(grid.columns) if column.title in titles])


def _at(grid: Grid, kept: Sequence[int]) -> Grid:
    sections = [
        Section(title=section.title, rows=[[row[i] for i in kept] for row in section.rows]) for section in grid.sections
    ]
    return Grid(columns=[grid.columns[i] for i in kept], sections=sections)


def as_rich(grid: Grid, title: str) -> Table:
    """Returns the table for the console."""
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    rows = [row for section in grid.sections for row in section.rows]
    for i, column in enumerate(grid.columns):
        least = max(map(len, column.title.split()))
        least = max([least, *(_least_width(row[i], column) for row in rows)])
        # Fixed widths for numbers leave all that can be spared to the text.
        width = {"width": least, "justify": "right"} if column.number else {"min_width": least}
        table.add_column(column.title, **width)
    for section in grid.sections:
        if section.title:
            table.add_row(Text(section.title, style="bold"), *[""] * (len(grid.columns) - 1))
        for row in section.rows:
            table.add_row(*[_rich(entry) for entry in row])
        table.add_section()
    return table


def as_markdown(grid: Grid) -> str:
    """Returns the table as Markdown; a section's title stands in a row of its own."""
    lines = [
        _line([column.title for column in grid.columns]),
        _line(["---:" if column.number else ":---" for column in grid.columns]),
    ]
    for section in grid.sections:
        if section.title:
            lines.append(_line([f"**{section.title}**", *[""] * (len(grid.columns) - 1)]))
        lines += [_line([_joined(entry) for entry in row]) for row in section.rows]
    return "\n".join(lines) + "\n"


def as_html(grid: Grid) -> str:
    """Returns the table as HTML, every text escaped, in a box that scrolls sideways on narrow screens."""
    heads = "".join(f'<th scope="col"{_align(column)}>{html.escape(column.title)}</th>' for column in grid.columns)
    bodies = "".join(_html_section(grid, section) for section in grid.sections)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>{bodies}</table></div>'


def _html_section(grid: Grid, section: Section) -> str:
    title = ""
    if section.title:
        span, text = len(grid.columns), html.escape(section.title)
        title = f'<tr class="section"><th colspan="{span}"><span>{text}</span></th></tr>'
    rows = "".join(
        "<tr>"
        + "".join(_html_entry(c, e, i == 0) for i, (c, e) in enumerate(zip(grid.columns, row, strict=True)))
        + "</tr>"
        for row in section.rows
    )
    return f"<tbody>{title}{rows}</tbody>"


def _html_entry(column: Column, entry: Entry, first: bool) -> str:
    detail = f"<small>{html.escape(entry.detail)}</small>" if entry.detail else ""
    tag, scope = ("th", ' scope="row"') if first else ("td", "")
    main = html.escape(entry.main).replace(" %", "\u00a0%")
    return f"<{tag}{scope}{_align(column)}>{main}{detail}</{tag}>"


def _align(column: Column) -> str:
    return ' class="number"' if column.number else ""


def _rich(entry: Entry) -> Text:
    text = Text(entry.main)
    return text.append(f"\n{entry.detail}", style="dim") if entry.detail else text


def _least_width(entry: Entry, column: Column) -> int:
    """Numbers and their intervals stay on one line, words whole."""
    parts = [entry.main, entry.detail]
    return max(map(len, parts if column.number else " ".join(parts).split()), default=0)


def _joined(entry: Entry) -> str:
    return f"{entry.main} ({entry.detail})" if entry.detail else entry.main


def _line(fields: Sequence[str]) -> str:
    return "| " + " | ".join(field.replace("|", "\\|") for field in fields) + " |"
