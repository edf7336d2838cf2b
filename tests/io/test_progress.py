"""Progress bars: drawn for people, silent for files."""

import sys

from recycle_jax.io.progress import progress, track


def test_nothing_is_written_to_a_file(capsys):
    with progress("working", 3) as advance:
        advance()
        advance(2, note="loss 0.1")
    assert list(track(range(3), "counting")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress("working", 3) as advance:
        advance(2, note="loss 0.1")
    assert list(track(iter("ab"), "counting")) == ["a", "b"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "working" in err
    assert "2/3" in err
    assert "counting" in err
