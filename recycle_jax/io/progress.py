"""What is done and what is left, on standard error, so that standard output holds results only.

A terminal gets a bar. A log file, a notebook or a build server gets lines: one when a phase begins, one every 30
seconds, also while the phase compiles or waits, and one at its end.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

EVERY_SECONDS = 30.0


@contextlib.contextmanager
def progress(label: str | None, total: int | None, *, every: float = EVERY_SECONDS) -> Iterator[Callable[..., None]]:
    """Gives `advance(steps=1, note="")`, which says that so many steps more are done; an empty note keeps the last.

    Args:
        label: what is going on; None to say nothing.
        total: the number of steps, None if it is not known.
        every: seconds between two lines where there is no terminal.
    """
    if label is None:
        yield _ignore
    elif sys.stderr.isatty():
        with _bar(label, total) as advance:
            yield advance
    else:
        with _lines(Lines(label=label, total=total, stream=sys.stderr), every) as advance:
            yield advance


def track(items: Iterable[T], label: str | None, total: int | None = None) -> Iterator[T]:
    """Yields `items` and says how many are done; see `progress`."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(label, total) as advance:
        for item in items:
            yield item
            advance()


class Lines:
    """The progress of one phase as lines of text."""

    def __init__(
        self, *, label: str, total: int | None, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.label, self.total, self.stream, self.clock = label, total, stream, clock
        self.done, self.note = 0, ""
        self.began = clock()
        self.first: tuple[float, int] | None = None

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Notes that so many steps more are done; prints nothing."""
        self.done += steps
        self.note = note or self.note
        # The first step compiles: what is left is foretold from those after it.
        if self.first is None and self.done:
            self.first = (self.clock(), self.done)

    def start(self) -> None:
        """Prints that the phase begins."""
        self._print("begins" if self.total is None else f"begins, {self.total} in all")

    def report(self) -> None:
        """Prints what is done, the newest note, and the time that is left where it can be told."""
        left = self._seconds_left()
        remaining = f"about {duration(left)} left" if left is not None else f"{duration(self._seconds())} so far"
        self._print(", ".join(filter(None, (self._count(), self.note, remaining))))

    def end(self, whole: bool) -> None:
        """Prints the last line: `whole` unless an error or an interrupt ended the phase."""
        how = "ended" if whole else "stopped"
        self._print(", ".join(filter(None, (f"{how}, {self._count()}", self.note, f"in {duration(self._seconds())}"))))

    def _count(self) -> str:
        if self.total is None:
            return f"{self.done} done" if self.done else ""
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        return f"{self.done} of {self.total}{share}"

    def _seconds(self) -> float:
        return self.clock() - self.began

    def _seconds_left(self) -> float | None:
        if self.total is None or self.first is None or self.done <= self.first[1]:
            return None
        seconds, steps = self.clock() - self.first[0], self.done - self.first[1]
        return max(self.total - self.done, 0) * seconds / steps

    def _print(self, text: str) -> None:
        print(f"{self.label}: {text}", file=self.stream, flush=True)


def duration(seconds: float) -> str:
    """Returns a length of time for people: `40 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


@contextlib.contextmanager
def _lines(lines: Lines, every: float) -> Iterator[Callable[..., None]]:
    over, whole = threading.Event(), False

    def speak() -> None:
        while not over.wait(every):
            lines.report()

    # A thread of its own: compilation and waiting on a device would hold the lines back otherwise.
    speaker = threading.Thread(target=speak, daemon=True, name=f"progress of {lines.label}")
    lines.start()
    speaker.start()
    try:
        yield lines.advance
        whole = True
    finally:
        over.set()
        speaker.join()
        lines.end(whole)


@contextlib.contextmanager
def _bar(label: str, total: int | None) -> Iterator[Callable[..., None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            bar.advance(task, steps)
            if note:
                bar.update(task, note=note)

        yield advance


def _ignore(steps: int = 1, note: str = "") -> None:
    del steps, note
