"""Prepared sets are found by the names people give them."""

import os

import pytest
import tensorflow_datasets as tfds

from recycle_jax.data.tfds_names import open_tfds

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:tensorflow_datasets")


@pytest.fixture
def opened(monkeypatch):
    """What TFDS is asked for, instead of opening it."""
    asked = []

    class Builder:
        def download_and_prepare(self):
            asked.append("prepared")

    def by_name(name, **settings):
        asked.append((name, settings["data_dir"]))
        return Builder()

    monkeypatch.setattr(tfds, "builder_from_directory", lambda path: asked.append(os.fspath(path)) or Builder())
    monkeypatch.setattr(tfds, "builder", by_name)
    return asked


def prepare(path):
    path.mkdir(parents=True)
    (path / "dataset_info.json").write_text("{}")
    return path


def test_a_directory_in_every_spelling(tmp_path, monkeypatch, opened):
    full = prepare(tmp_path / "data/clips/1.0.0")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for spelled in (full, f"{full}/", "~/data/clips/1.0.0", "data/clips/1.0.0", "./data/clips/1.0.0/"):
        open_tfds(spelled)
        assert os.path.samefile(os.path.expanduser(opened.pop()), full), spelled


def test_a_directory_above_the_only_set(tmp_path, opened):
    prepare(tmp_path / "clips/small/1.9.0")
    newest = prepare(tmp_path / "clips/small/1.10.0")
    prepare(tmp_path / "clips/incomplete.X_2.0.0")
    for above in (tmp_path, tmp_path / "clips", tmp_path / "clips/small"):
        open_tfds(above)
        assert opened.pop() == str(newest), "the newest version"


def test_several_sets_are_named(tmp_path, opened):
    prepare(tmp_path / "a/1.0.0")
    prepare(tmp_path / "b/small/1.0.0")
    with pytest.raises(ValueError, match=r"several data sets; name one: .*a/1\.0\.0, .*b/small/1\.0\.0"):
        open_tfds(tmp_path)


@pytest.mark.parametrize("name", ["clips", "clips:1.0.0", "clips/small", "clips/small:1.0.0", "clips:1.*.*"])
def test_names_go_to_tfds_as_they_are(tmp_path, monkeypatch, opened, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    open_tfds(name, "~/data")
    assert opened == [(name, f"{tmp_path}/data"), "prepared"]


def test_addresses_keep_both_slashes(monkeypatch, opened):
    class Remote:
        def __init__(self, path):
            self.path = path

        def __truediv__(self, name):
            return Remote(f"{self.path}/{name}")

        def exists(self):
            return self.path == "gs://bucket/clips/1.0.0/dataset_info.json"

    monkeypatch.setattr(tfds.core, "Path", Remote)
    open_tfds("gs://bucket/clips/1.0.0")
    assert opened == ["gs://bucket/clips/1.0.0"]


def test_what_is_not_there_is_said_in_one_line(tmp_path):
    for source in (tmp_path / "nothing", tmp_path, "./nothing", "~/nothing/here"):
        with pytest.raises(ValueError, match=r"no prepared data set at .*: no dataset_info\.json"):
            open_tfds(source)
    for name in ("no_such_set", "no_such/config", "no:such:set", "a b"):
        with pytest.raises(ValueError, match=r"^there is no data set .*data_dir=$"):
            open_tfds(name, tmp_path)
