"""Progress: a bar on a terminal, lines now and then in a log file, nothing where none is wanted."""

import io
import sys
import threading

import pytest

from recycle_jax.io.progress import Lines, duration, progress, track


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def lines_of(stream):
    return stream.getvalue().splitlines()


def test_a_log_file_gets_a_line_at_the_start_and_one_at_the_end(capsys):
    with progress("working", 3) as advance:
        advance()
        advance(2, note="loss 0.1")
    assert list(track(range(3), "counting")) == [0, 1, 2]
    out, err = capsys.readouterr()
    assert out == "", "standard output holds results only"
    assert err.splitlines() == [
        "working: begins, 3 in all",
        "working: ended, 3 of 3 (100%), loss 0.1, in 0 s",
        "counting: begins, 3 in all",
        "counting: ended, 3 of 3 (100%), in 0 s",
    ]


def test_a_line_tells_what_is_done_the_loss_and_what_is_left(clock):
    lines = Lines(label="b", total=1000, stream=io.StringIO(), clock=clock)
    clock.now += 40.0
    lines.report()
    lines.advance()  # the first step has compiled for long, and foretells nothing
    lines.report()
    for _ in range(100):
        clock.now += 0.5
        lines.advance()
    lines.advance(0, "loss 0.25")
    lines.report()
    lines.report()
    assert lines_of(lines.stream) == [
        "b: 0 of 1000 (0%), 40 s so far",
        "b: 1 of 1000 (0%), 40 s so far",
        "b: 101 of 1000 (10%), loss 0.25, about 7 min 30 s left",
        "b: 101 of 1000 (10%), loss 0.25, about 7 min 30 s left",
    ]


def test_without_a_total_the_time_so_far_is_told(clock):
    lines = Lines(label="reading", total=None, stream=io.StringIO(), clock=clock)
    lines.start()
    lines.advance(7)
    clock.now += 61.0
    lines.report()
    lines.end(whole=True)
    assert lines_of(lines.stream) == [
        "reading: begins",
        "reading: 7 done, 1 min 01 s so far",
        "reading: ended, 7 done, in 1 min 01 s",
    ]


def test_a_phase_that_fails_says_how_far_it_came(capsys):
    def fail_after_one():
        with progress("working", 4) as advance:
            advance()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_one()
    assert capsys.readouterr().err.splitlines()[-1] == "working: stopped, 1 of 4 (25%), in 0 s"


def test_lines_come_while_the_phase_waits(monkeypatch):
    """As in a compilation: nothing advances, and yet something is said."""
    heard = threading.Event()

    class Listening(io.StringIO):
        def write(self, text):
            if "so far" in text:
                heard.set()
            return super().write(text)

    monkeypatch.setattr(sys, "stderr", Listening())
    with progress("compiling", 2, every=1e-3):
        assert heard.wait(timeout=60.0)


def test_nothing_is_said_where_no_progress_is_wanted(capsys):
    with progress(None, 3) as advance:
        advance()
    assert list(track("ab", None)) == ["a", "b"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7_500, "2 h 05 min")]
)
def test_lengths_of_time(seconds, text):
    assert duration(seconds) == text


def test_a_terminal_sees_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress("working", 3) as advance:
        advance(2, note="loss 0.1")
    assert list(track(iter("ab"), "counting")) == ["a", "b"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "working" in err and "2/3" in err and "loss 0.1" in err
    assert "counting" in err
