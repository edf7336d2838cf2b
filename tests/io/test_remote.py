"""Work directories in a bucket: whole objects, no local litter, refused at once where they cannot work."""

import os

import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as orbax

from recycle_jax.io import checkpoint
from recycle_jax.io.files import replacing, write_bytes
from recycle_jax.io.lock import InUse, hold
from recycle_jax.io.paths import as_path
from recycle_jax.io.workdir import open_workdir
from recycle_jax.io.writers import append_jsonl, read_json, read_jsonl, write_json


def small(value):
    return {"w": jnp.full((2,), value, jnp.float32)}


def test_a_work_directory_in_a_bucket_holds_a_whole_run(bucket):
    workdir = open_workdir("gs://b/runs/one", {"a": 1}, data="arm")
    for step in range(3):
        workdir.log({"step": step})
    write_json(workdir.results, {"horizon": 96})
    path = checkpoint.save(workdir.checkpoints, 1, small(1.0))
    root = bucket.root / "b" / "runs" / "one"
    assert str(path) == "gs://b/runs/one/checkpoints/step_00000001"
    names = {"config.json", "data.json", "metrics.jsonl", "results.json", "checkpoints"}
    assert {entry.name for entry in root.iterdir()} == names
    assert read_jsonl(workdir.metrics) == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert read_json(workdir.results) == {"horizon": 96}
    with pytest.raises(ValueError, match="gs://b/runs/one holds a run of another configuration"):
        open_workdir("gs://b/runs/one", {"a": 2})


def test_checkpoints_in_a_bucket_come_back(bucket):
    for step in (1, 2, 3, 4):
        checkpoint.save("gs://b/ck", step, small(step), keep=2)
    assert checkpoint.steps("gs://b/ck") == [3, 4]
    step, state = checkpoint.restore("gs://b/ck", small(0))
    assert step == 4
    np.testing.assert_array_equal(state["w"], [4, 4])


def test_a_checkpoint_in_a_bucket_without_its_mark_is_no_checkpoint(bucket):
    checkpoint.save("gs://b/ck", 1, small(1))
    checkpoint.save("gs://b/ck", 2, small(2))
    (bucket.root / "b" / "ck" / "step_00000002" / "commit_success.txt").unlink()
    assert checkpoint.steps("gs://b/ck") == [1]
    checkpoint.save("gs://b/ck", 3, small(3))
    assert not (bucket.root / "b" / "ck" / "step_00000002").exists()


def test_saving_a_step_again_in_a_bucket_never_leaves_none(bucket, monkeypatch):
    checkpoint.save("gs://b/ck", 1, small(1))

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(orbax, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save("gs://b/ck", 1, small(2))
    np.testing.assert_array_equal(checkpoint.restore("gs://b/ck", small(0))[1]["w"], [1, 1])
    for value in (3, 4):
        checkpoint.save("gs://b/ck", 1, small(value))
        np.testing.assert_array_equal(checkpoint.restore("gs://b/ck", small(0))[1]["w"], [value, value])
        assert checkpoint.steps("gs://b/ck") == [1]


def test_what_is_not_finished_is_not_uploaded(bucket):
    write_bytes("gs://b/a.bin", b"old")
    bucket.written.clear()

    def fail_amid():
        with replacing("gs://b/a.bin") as temporary:
            temporary.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_amid()
    assert bucket.written == []
    assert as_path("gs://b/a.bin").read_bytes() == b"old"


def test_an_append_in_a_bucket_rewrites_the_file_and_drops_a_half_written_line(bucket):
    append_jsonl("gs://b/metrics.jsonl", {"step": 1})
    with open(bucket.root / "b" / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 2, "lo')
    append_jsonl("gs://b/metrics.jsonl", {"step": 3})
    assert read_jsonl("gs://b/metrics.jsonl") == [{"step": 1}, {"step": 3}]


def test_in_a_bucket_the_newest_run_takes_over_and_the_older_one_ends(bucket, capsys):
    """A preempted machine cannot give its lock back: its successor must not wait for a person."""
    with hold("gs://b/ck"):
        checkpoint.save("gs://b/ck", 1, small(1))
        other = {"host": "elsewhere", "pid": 7, "started": "2026-01-01T00:00:00+00:00", "token": "x"}
        write_json("gs://b/ck/.lock", other)
        with pytest.raises(InUse, match="gs://b/ck was taken over by process 7 on elsewhere"):
            checkpoint.save("gs://b/ck", 2, small(2))
    assert checkpoint.steps("gs://b/ck") == [1]
    with hold("gs://b/ck"):
        assert "taking over from process 7 on elsewhere" in capsys.readouterr().err
        checkpoint.save("gs://b/ck", 2, small(2))


def test_a_bucket_that_cannot_be_reached_is_refused_at_once(bucket, monkeypatch):
    def refuse(*_):
        raise RuntimeError("403 Forbidden")

    monkeypatch.setattr(type(bucket), "open", refuse)
    with pytest.raises(OSError, match="cannot write gs://b/run: 403 Forbidden; check the bucket's name"):
        open_workdir("gs://b/run", {})

    def absent(*_):
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(type(bucket), "open", absent)
    with pytest.raises(ImportError, match="gs://b/run needs .*: run `pip install gcsfs`"):
        open_workdir("gs://b/run", {})


@pytest.mark.parametrize("url", ["s3://b/run", "gs:/b/run", "gs:///run", "file:///run", "https://b/run"])
def test_other_addresses_are_refused_at_once_and_make_nothing(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="give a local directory, or gs://BUCKET/DIRECTORY"):
        open_workdir(url, {})
    assert os.listdir(tmp_path) == []
