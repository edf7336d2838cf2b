"""Progress bars for people: drawn on a terminal, silent in a log file.

They go to standard error, so that standard output holds results only.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


@contextlib.contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Gives `advance(steps=1, note="")`, which moves the bar; does nothing when no one watches.

    Args:
        label: what is going on.
        total: the number of steps, None if it is not known.
    """
    if not sys.stderr.isatty():
        yield _ignore
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, note="")
        yield lambda steps=1, note="": bar.update(task, advance=steps, note=note)


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yields `items` and moves a bar by one for each."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(label, total) as advance:
        for item in items:
            yield item
            advance()


def _ignore(steps: int = 1, note: str = "") -> None:
    del steps, note
