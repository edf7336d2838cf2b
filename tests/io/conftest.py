"""A bucket in a local folder: what `gs://` is to a test that may not use a network."""

import os

import pytest
from etils.epath import backend, gpath
from orbax.checkpoint._src.path import gcs_utils

from recycle_jax.io import lock


class FolderBackend(backend._OsPathBackend):
    """The backend of `etils.epath` on `gs://`, kept below a folder; like a bucket, it renames nothing."""

    def __init__(self, root):
        self.root = root
        self.written = []

    def local(self, path):
        text = os.fspath(path)
        assert text.startswith("gs://"), f"{text} is no address in the bucket"
        return self.root / text.removeprefix("gs://")

    def open(self, path, mode):
        target = self.local(path)
        if "w" in mode:
            self.written.append(os.fspath(path))
            target.parent.mkdir(parents=True, exist_ok=True)
        return super().open(target, mode)

    def rename(self, path, dst):
        raise AssertionError(f"{path} to {dst}: objects in a bucket cannot be renamed")

    replace = rename

    def stat(self, path):
        found = os.stat(self.local(path))
        return backend.stat_utils.StatResult(
            is_directory=self.local(path).is_dir(), length=found.st_size, mtime=0, owner=None, group=None, mode=None
        )

    def glob(self, path):
        pattern = os.fspath(path).removeprefix("gs://")
        return [f"gs://{found.relative_to(self.root)}" for found in self.root.glob(pattern)]


def _local(name):
    def method(self, path, *arguments, **options):
        return getattr(backend._OsPathBackend, name)(self, self.local(path), *arguments, **options)

    return method


for _name in ("exists", "isdir", "listdir", "makedirs", "mkdir", "rmtree", "remove"):
    setattr(FolderBackend, _name, _local(_name))


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A backend that keeps `gs://` below `root`, for epath and for the storage under Orbax.

    The working directory is another one, and must stay empty.
    """
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    made = FolderBackend(tmp_path / "gs")
    monkeypatch.setitem(gpath._PREFIX_TO_BACKEND, "gs", made)
    monkeypatch.setattr(gpath, "_is_tf_installed", lambda: False)
    spec = lambda path: {"driver": "file", "path": str(made.local(path))}  # noqa: E731
    monkeypatch.setattr(gcs_utils, "get_kvstore_for_gcs", spec)
    yield made
    lock._release_all()
    assert not list(here.iterdir()), "nothing of a remote run lies on the local disk"
