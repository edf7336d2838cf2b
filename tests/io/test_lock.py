"""One writer a directory: who comes second is told, who died keeps nobody out."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import jax.numpy as jnp
import pytest

from recycle_jax.io import checkpoint, lock
from recycle_jax.io.lock import InUse, claim, hold, in_use, require_mine

HOLDER = """
import sys
from recycle_jax.io.lock import hold
with hold(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds `tmp_path / "ck"`; a line on its standard input ends it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "ck")]
    child = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n", child.stderr.read()
    yield child
    child.kill()
    child.communicate()


def small(value):
    return {"w": jnp.full((2,), value, jnp.float32)}


def test_the_second_is_told_of_the_first_and_what_to_do(tmp_path, other):
    said = rf"ck is in use by process {other.pid} on \S+, which began at 20.*stop it, or choose another directory"
    with pytest.raises(InUse, match=said):
        checkpoint.save(tmp_path / "ck", 1, small(1))
    assert os.listdir(tmp_path / "ck") == [".lock"], "nothing of the other run is touched"
    assert in_use(tmp_path / "ck")


def test_who_was_killed_keeps_nobody_out(tmp_path, other, capsys):
    other.kill()
    other.wait()
    assert not in_use(tmp_path / "ck")
    with hold(tmp_path / "ck"):
        assert f"taking over from process {other.pid} on " in capsys.readouterr().err
        checkpoint.save(tmp_path / "ck", 1, small(1))
    assert os.listdir(tmp_path / "ck") == ["step_00000001"]


def test_waiting_ends_when_the_other_does(tmp_path, other, monkeypatch, capsys):
    monkeypatch.setattr(lock, "_pause", lambda _: (other.communicate("\n"), other.wait()))
    with hold(tmp_path / "ck", wait=True):
        pass
    assert f"waiting for process {other.pid} on " in capsys.readouterr().err


def test_a_lock_in_a_lock_costs_nothing_and_the_outer_one_ends_it(tmp_path):
    with hold(tmp_path):
        with hold(tmp_path):
            require_mine(tmp_path)
        assert in_use(tmp_path)
        require_mine(tmp_path / "watch")
        assert not (tmp_path / "watch").exists(), "a directory below is covered"
    assert not in_use(tmp_path) and os.listdir(tmp_path) == []


def test_a_directory_may_be_renamed_by_who_holds_it(tmp_path):
    claim(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    with hold(tmp_path / "new", wait=True):
        assert in_use(tmp_path / "new")
    claim(tmp_path / "old")
    lock._release_all()
    assert lock._HELD == {} and not in_use(tmp_path / "new")


def test_a_claim_lasts_until_the_process_ends(tmp_path):
    program = (
        "import sys; from recycle_jax.io.lock import claim, in_use; claim(sys.argv[1]); print(in_use(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n" and done.stderr == ""
    assert os.listdir(tmp_path) == []


def test_where_the_file_system_has_no_locks_a_living_process_is_asked_for(tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    owner = {"host": lock.socket.gethostname(), "pid": os.getppid(), "started": "earlier", "token": "x"}
    (tmp_path / ".lock").write_text(json.dumps(owner))
    with pytest.raises(InUse, match=f"in use by process {os.getppid()}"):
        claim(tmp_path)
    assert in_use(tmp_path)
    monkeypatch.setattr(lock.os, "kill", lambda *_: (_ for _ in ()).throw(ProcessLookupError))
    assert not in_use(tmp_path)
    with hold(tmp_path):
        assert "taking over from process" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_damaged_lock_file_keeps_nobody_out(tmp_path):
    (tmp_path / ".lock").write_bytes(b"\xff{")
    with hold(tmp_path):
        pass


def test_a_forked_child_holds_nothing(tmp_path):
    with hold(tmp_path):
        child = os.fork()
        if not child:
            os._exit(0 if lock._HELD == {} else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert in_use(tmp_path)


def test_two_at_once_let_in_one(tmp_path):
    """Threads stand for processes: each takes the file for itself."""
    start, got = threading.Barrier(4), []

    def take():
        start.wait()
        got.append(lock._try(tmp_path))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [taken for taken in got if taken is not None]
    os.close(winner.file)
