"""Two processes of four fake devices each do what one of eight does: train, recycle, stop, go on, evaluate."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parent / "two_hosts.py"


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def started(folder, hosts, port):
    """The processes of a run, which talk to each other."""
    folder.mkdir()
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(8 // hosts)}
    environment["PYTHONPATH"] = str(SCRIPT.parents[1])
    # What goes on after a stop is the same program.
    environment |= {"JAX_COMPILATION_CACHE_DIR": f"{folder}-cache", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, (folder, hosts, host, port))],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host in range(hosts)
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`hosts -> folder`, once all processes are done."""
    root = tmp_path_factory.mktemp("runs")
    port, done = free_port(), {}
    processes = {hosts: started(root / str(hosts), hosts, port) for hosts in (1, 2)}
    for hosts, group in processes.items():
        said = [process.communicate(timeout=600)[1][-3000:] for process in group]
        assert [process.returncode for process in group] == [0] * hosts, "\n".join(said)
        done[hosts] = root / str(hosts)
    return done


def numbers(folder, host):
    return json.loads((folder / f"host{host}.json").read_text())


def test_two_hosts_make_the_numbers_of_one(runs):
    one, *both = numbers(runs[1], 0), numbers(runs[2], 0), numbers(runs[2], 1)
    assert (one["hosts"], both[0]["hosts"], both[0]["devices"]) == (1, 2, 8)
    for other in both:
        assert other["entries"] == one["entries"] and max(one["entries"]) == 4, "it was not filled after going on"
        for name in ("motion", "video"):
            np.testing.assert_allclose(other[name], one[name], rtol=1e-3)
        assert other["params"] == pytest.approx(one["params"], rel=1e-3)
    assert both[0]["params"] == both[1]["params"]


def test_each_host_makes_its_own_rows_only(runs):
    assert numbers(runs[1], 0)["asked"] == [[0, 8], [0, 16]]
    assert numbers(runs[2], 0)["asked"] == [[0, 4], [0, 8]]
    assert numbers(runs[2], 1)["asked"] == [[4, 4], [8, 8]]


def test_an_interrupt_of_one_host_stops_all_at_the_end_of_the_log_interval(runs):
    assert [numbers(runs[2], host)["stopped"] for host in (0, 1)] == ["stopped by Ctrl-C; step 2"] * 2


def test_the_first_host_alone_writes_the_log_and_one_checkpoint_a_step_is_kept(runs):
    logs = {
        hosts: [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for hosts, folder in runs.items()
    }
    assert [record["step"] for record in logs[2]] == [2, 4, 6]
    again = {record["step"]: record["loss"] for record in logs[1]}
    for record in logs[2]:
        assert record["loss"] == pytest.approx(again[record["step"]], rel=1e-3)
    assert sorted(path.name for path in (runs[2] / "checkpoints").iterdir()) == ["step_00000002", "step_00000006"]
