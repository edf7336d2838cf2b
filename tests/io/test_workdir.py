"""The directory of a run: checked before any work, and never shared by two configurations."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from recycle_jax.io import workdir as module
from recycle_jax.io.workdir import config_sha, git_revision, open_workdir, run_metadata
from recycle_jax.io.writers import read_json, read_jsonl


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimiser:
    rate: float = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    steps: int = 10
    optimiser: Optimiser = Optimiser()


def test_a_new_directory_records_its_configuration(tmp_path):
    workdir = open_workdir(tmp_path / "runs" / "one", Config())
    assert read_json(workdir.config) == {"steps": 10, "optimiser": {"rate": 1e-3}}
    assert os.listdir(workdir.path) == ["config.json"], "the probe is removed"
    workdir.log({"step": 1})
    assert read_jsonl(workdir.metrics) == [{"step": 1}]
    assert workdir.file("a.mp4").parent == workdir.results.parent == workdir.report.parent == workdir.path


def test_a_run_goes_on_only_with_its_own_configuration(tmp_path):
    open_workdir(tmp_path, Config())
    open_workdir(tmp_path, Config())
    other = Config(optimiser=Optimiser(rate=0.5))
    with pytest.raises(ValueError, match=r"optimiser\.rate: 0\.001 there, 0\.5 now.*another --workdir"):
        open_workdir(tmp_path, other)
    assert read_json(tmp_path / "config.json")["optimiser"]["rate"] == 1e-3


def test_a_directory_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=f"cannot write {path}.*choose another directory"):
            open_workdir(path, Config())

    def read_only(self, data):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", read_only)
    with pytest.raises(OSError, match="Permission denied; choose a directory that you may write to"):
        open_workdir(tmp_path / "locked", Config())


def test_metadata_says_what_made_the_results():
    data = run_metadata(Config())
    assert set(data) == {"git", "config_sha", "versions", "device"}
    assert {"python", "jax", "flax", "numpy"} <= set(data["versions"])
    assert data["device"][0].isdigit()


def test_the_hash_follows_values_only():
    assert config_sha({"a": 1, "b": 2}) == config_sha({"b": 2, "a": 1})
    assert config_sha(Config()) == config_sha(Config())
    assert config_sha(Config()) != config_sha(Config(steps=11))


def test_no_git_is_no_error(monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(module.subprocess, "run", absent)
    assert git_revision() == "unknown"
    assert subprocess is module.subprocess
