"""The directory of a run: checked before any work, and never shared by two configurations."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from recycle_jax.io import workdir as module
from recycle_jax.io.lock import hold
from recycle_jax.io.workdir import config_sha, git_revision, open_workdir, run_metadata
from recycle_jax.io.writers import plain, read_json, read_jsonl, write_json


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
    write_json(open_workdir(tmp_path, Config()).path / "cells" / "one.json", {})
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
    assert git_revision().startswith("version ")


def test_an_uninstalled_copy_without_git_is_unknown(monkeypatch):
    def absent(*_):
        raise module.metadata.PackageNotFoundError

    monkeypatch.setattr(module, "_git", lambda *_: None)
    monkeypatch.setattr(module.metadata, "distribution", absent)
    assert git_revision() == "unknown"


def test_a_package_installed_from_a_repository_says_which_commit(monkeypatch):
    class Distribution:
        version = "1.2.3"

        def __init__(self, origin):
            self.origin = origin

        def read_text(self, name):
            return self.origin if name == "direct_url.json" else None

    monkeypatch.setattr(module, "_git", lambda *_: None)
    cases = {'{"vcs_info": {"vcs": "git", "commit_id": "abc"}}': "abc", '{"dir_info": {}}': "version 1.2.3"}
    for origin, said in {**cases, None: "version 1.2.3"}.items():
        monkeypatch.setattr(module.metadata, "distribution", lambda _, origin=origin: Distribution(origin))
        assert git_revision() == said


def git(folder, *arguments):
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    command = ["git", "-C", str(folder), *names, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_revision_is_that_of_the_sources_own_repository_only(tmp_path, monkeypatch):
    """A package in PROJECT/.venv, PROJECT being somebody's own repository, is no part of that repository."""
    package = tmp_path / ".venv" / "recycle_jax" / "io"
    package.mkdir(parents=True)
    (package / "workdir.py").write_text("installed")
    (tmp_path / ".gitignore").write_text(".venv/\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "mine")
    monkeypatch.setattr(module, "__file__", str(package / "workdir.py"))
    head = git(tmp_path, "rev-parse", "HEAD")
    assert head not in git_revision()
    git(tmp_path, "add", "--force", ".")
    git(tmp_path, "commit", "-m", "sources")
    assert git_revision() == git(tmp_path, "rev-parse", "HEAD") != head


def test_a_run_that_made_nothing_does_not_block_the_corrected_one(tmp_path):
    failed = open_workdir(tmp_path, {"held_out": 0.25})
    failed.log({"step": 1})
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled" / "program").write_text("of XLA")
    open_workdir(tmp_path / "screening", {"held_out": 0.25})
    workdir = open_workdir(tmp_path, {"held_out": 0.5})
    assert read_json(workdir.config) == {"held_out": 0.5}
    assert not workdir.metrics.exists(), "records of another configuration do not go on here"
    (kept,) = tmp_path.glob("metrics-*.jsonl")
    assert read_jsonl(kept) == [{"step": 1}]


@pytest.mark.parametrize("made", ["cells/a.json", "checkpoints/a/step_00000001/data", "results.json", "trained/b"])
def test_whatever_a_run_made_binds_the_next_one_to_its_configuration(tmp_path, made):
    open_workdir(tmp_path, {"held_out": 0.25})
    (tmp_path / made).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / made).write_text("{}")
    with pytest.raises(ValueError, match=r"held_out: 0\.25 there, 0\.5 now"):
        open_workdir(tmp_path, {"held_out": 0.5})


def test_a_run_at_work_binds_the_next_one_before_it_has_made_anything(tmp_path):
    workdir = open_workdir(tmp_path, {"held_out": 0.25})
    with hold(workdir.checkpoints / "b"):
        with pytest.raises(ValueError, match="another configuration"):
            open_workdir(tmp_path, {"held_out": 0.5})
    open_workdir(tmp_path, {"held_out": 0.5})


def test_a_run_goes_on_only_with_its_own_data(tmp_path):
    open_workdir(tmp_path, Config(), data="arm")
    workdir = open_workdir(tmp_path, Config(), data="road")
    write_json(workdir.path / "cells" / "one.json", {})
    open_workdir(tmp_path, Config(), data="road")
    with pytest.raises(ValueError, match="run of other data .*road there, arm now.*another --workdir"):
        open_workdir(tmp_path, Config(), data="arm")
    assert read_json(workdir.config) == plain(Config())


def test_a_run_of_a_version_that_kept_no_identity_of_its_data_goes_on(tmp_path):
    write_json(open_workdir(tmp_path, Config()).results, {})
    workdir = open_workdir(tmp_path, Config(), data="arm")
    assert read_json(workdir.data) == {"data": "arm"}


def test_no_home_matters_only_to_a_path_that_names_it(tmp_path, monkeypatch):
    def none(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", lambda self: none(self) if str(self).startswith("~") else self)
    assert open_workdir(tmp_path / "run", {}).path == tmp_path / "run"
    with pytest.raises(ValueError, match="~/run: there is no such home directory.*give a full path"):
        open_workdir("~/run", {})
