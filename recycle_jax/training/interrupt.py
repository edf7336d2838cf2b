"""Ctrl-C and SIGTERM that wait for the end of a step: amid one the old state is donated and the new one not yet there.

SIGTERM is how spot machines, Slurm, Colab and `docker stop` say that a run has seconds left.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, after the state was saved; the message says how to go on.

    Attributes:
        exit_status: what a command line ends with: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_status = 128 + number


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], int | None]]:
    """Gives a function that returns the signal that came, or None; a second one interrupts at once.

    Outside the main thread, where Python delivers no signals, none ever comes.

    Raises:
        Interrupted: in the block, on the second signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in NAMES}

    def note(number: int, frame: Any) -> None:
        del frame
        came.append(number)
        if len(came) > 1:
            name = NAMES[signal.Signals(number)]
            raise Interrupted(f"stopped at once by a second {name}; only earlier checkpoints are saved", number)

    try:
        for number in NAMES:
            signal.signal(number, note)
        yield lambda: came[0] if came else None
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not installed from Python, and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
