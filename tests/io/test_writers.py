"""Results and metrics on disk: what survives, what is refused, and how infinities are spelled."""

import dataclasses
import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.io import files
from recycle_jax.io.writers import append_jsonl, plain, read_json, read_jsonl, write_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    size: int = 3
    path: Path = Path("a/b")


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_everything_a_result_holds_becomes_json(tmp_path):
    value = {
        "settings": Settings(),
        "curve": np.array([1.5, np.nan, np.inf]),
        "loss": jnp.float32(-np.inf),
        "half": jnp.ones((2,), jnp.bfloat16),
        "count": np.int64(7),
        "flag": np.bool_(True),
        4: (None, "text"),
    }
    assert read_json(write_json(tmp_path / "results.json", value)) == {
        "settings": {"size": 3, "path": "a/b"},
        "curve": [1.5, None, "Infinity"],
        "loss": "-Infinity",
        "half": [1.0, 1.0],
        "count": 7,
        "flag": True,
        "4": [None, "text"],
    }


def test_what_json_cannot_hold_is_named_and_the_old_file_kept(tmp_path):
    path = write_json(tmp_path / "results.json", {"a": 1})
    with pytest.raises(TypeError, match=r"cells\[1\]\.update is a function"):
        write_json(path, {"cells": [1, {"update": lambda x: x}]})
    assert read_json(path) == {"a": 1}


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = write_json(tmp_path / "results.json", {"a": 1})
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match=r"results\.json: No space left on device; free some space") as caught:
        write_json(path, {"a": 2})
    assert caught.value.errno == errno.ENOSPC
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_failed_flush_keeps_the_old_file(tmp_path, monkeypatch):
    path = write_json(tmp_path / "results.json", {"a": 1})
    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}


def test_an_unwritable_directory_is_named_with_its_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write .*file/results\.json: .*choose another directory"):
        write_json(tmp_path / "file" / "results.json", {})


def test_records_are_appended_line_by_line(tmp_path):
    path = tmp_path / "deep" / "metrics.jsonl"
    for step in range(3):
        append_jsonl(path, {"step": step, "loss": np.float32(0.5)})
    assert read_jsonl(path) == [{"step": step, "loss": 0.5} for step in range(3)]


@pytest.mark.parametrize("half", [b'{"step": 2, "lo', b'{"step": 2}', b"\xff\xfe"])
def test_a_half_written_line_is_left_out_and_then_replaced(tmp_path, half):
    path = tmp_path / "metrics.jsonl"
    append_jsonl(path, {"step": 1})
    with open(path, "ab") as file:
        file.write(half)
    assert read_jsonl(path) == [{"step": 1}]
    append_jsonl(path, {"step": 3})
    assert read_jsonl(path) == [{"step": 1}, {"step": 3}]


def test_a_broken_line_in_the_middle_is_an_error(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nbroken\n{"step": 2}\n')
    with pytest.raises(ValueError, match="line 2 of .* is not JSON"):
        read_jsonl(tmp_path / "metrics.jsonl")


def test_records_survive_kill_9(tmp_path):
    path = tmp_path / "metrics.jsonl"
    program = (
        "import sys, itertools\n"
        "from recycle_jax.io.writers import append_jsonl\n"
        "for step in itertools.count():\n"
        "    append_jsonl(sys.argv[1], {'step': step})\n"
        "    print(step, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    reported = [int(next(child.stdout)) for _ in range(20)][-1]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    records = read_jsonl(path)
    assert [record["step"] for record in records] == list(range(len(records)))
    assert len(records) > reported


def test_a_record_that_does_not_fit_leaves_the_others_as_they_were(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_jsonl(path, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        with pytest.raises(OSError, match=r"metrics\.jsonl: File too large; choose a directory"):
            append_jsonl(path, {"text": "half of this line still fits"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == '{"step": 1}\n'


def test_plain_values_pass_unchanged():
    value = {"a": [1, 2.5, "x", None, True], "b": {}}
    assert plain(value) == value
    assert json.loads(json.dumps(plain(value))) == value
