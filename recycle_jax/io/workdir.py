"""The directory of one run: what lies in it, and what made it."""

import dataclasses
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from recycle_jax.io.files import explaining, write_bytes
from recycle_jax.io.lock import LOCK_FILE, in_use
from recycle_jax.io.paths import home_expanded, is_remote, make_directory
from recycle_jax.io.writers import append_jsonl, plain, read_json, write_json

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")

NEUTRAL = re.compile(r"\..*|config\.json|data\.json|metrics.*\.jsonl|compiled")
"""What a run leaves behind that produced nothing yet: it binds nobody to the run's configuration."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workdir:
    """The files of one run; made by `open_workdir`.

    Attributes:
        path: the directory, which exists and can be written.
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def data(self) -> Path:
        """Where the identity of the run's data is kept; see `open_workdir`."""
        return self.path / "data.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def file(self, name: str) -> Path:
        """Returns the path of another file of the run."""
        return self.path / name

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends one record to `metrics.jsonl`; see `append_jsonl`."""
        append_jsonl(self.metrics, record)


def open_workdir(path: str | os.PathLike[str], config: Any, *, data: str | None = None) -> Workdir:
    """Makes a run's directory, proves that it can be written, and records or checks what the run is made of.

    An older configuration, or older data, is binding where the directory holds anything made of it: checkpoints,
    cells, results. What a run left that failed before it made anything is replaced, its metrics are set aside.

    Args:
        path: the directory, local or `gs://BUCKET/…`; made if it is missing, gone on with if it holds a run of the same
            configuration.
        config: the run's configuration, a dataclass or a mapping.
        data: what identifies the data, such as `identity.folder_hash`; None where the configuration says all.

    Raises:
        OSError: the directory cannot be made or written, with the reason and the remedy.
        ValueError: it holds a run of another configuration, naming the fields that differ, or of other data; or the
            path is neither local nor in a bucket of `gs://`.
        ImportError: the package for buckets is missing, with the command that installs it.
    """
    workdir = Workdir(path=home_expanded(path))
    _require_writable(workdir)
    bound = any(_made_in(workdir.path))
    if workdir.config.exists() and bound:
        _require_same(workdir, plain(config))
    else:
        _set_aside(workdir, config)
        write_json(workdir.config, config)
    _settle_data(workdir, data, bound)
    return workdir


def _require_writable(workdir: Workdir) -> None:
    probe = workdir.file(f".probe.{os.getpid()}")
    try:
        with explaining(workdir.path):
            make_directory(workdir.path)
        write_bytes(probe, b"written to find out early whether it can be")
        probe.unlink(missing_ok=True)
    except ImportError as error:
        raise ImportError(f"{workdir.path} needs the package for Google buckets: run `pip install gcsfs`") from error
    except Exception as error:
        # What the bucket's client raises (no such bucket, no rights, no credentials) has no common class.
        if not is_remote(workdir.path):
            raise
        raise OSError(f"cannot write {workdir.path}: {error}; check the bucket's name and your rights to it") from error


def _made_in(folder: Path) -> Iterator[Path]:
    """Files in a workdir that were made, or that a living process is about to make, under its configuration."""
    for entry in folder.iterdir() if folder.exists() else ():
        if entry.name == LOCK_FILE and in_use(folder):
            yield entry
        if NEUTRAL.fullmatch(entry.name):
            continue
        if entry.is_dir():
            yield from _made_in(entry)
        else:
            yield entry


def _set_aside(workdir: Workdir, config: Any) -> None:
    """Metrics of an older configuration do not go on in the new one's file."""
    if not (workdir.config.exists() and workdir.metrics.exists()):
        return
    before = read_json(workdir.config)
    if differences(before, plain(config)):
        write_bytes(workdir.file(f"metrics-{config_sha(before)}.jsonl"), workdir.metrics.read_bytes())
        workdir.metrics.unlink()


def _settle_data(workdir: Workdir, data: str | None, bound: bool) -> None:
    if data is None:
        return
    before = read_json(workdir.data)["data"] if workdir.data.exists() else data
    if bound and before != data:
        raise ValueError(
            f"{workdir.path} holds a run of other data (content hash {before} there, {data} now); choose another "
            "--workdir, go back to that data, or delete that directory"
        )
    write_json(workdir.data, {"data": data})


def run_metadata(config: Any) -> dict[str, Any]:
    """Returns what `results.json` says of its origin: `git`, `config_sha`, `versions`, `device`."""
    return {
        "git": git_revision(),
        "config_sha": config_sha(config),
        "versions": _versions(),
        "device": device_name(),
    }


def config_sha(config: Any) -> str:
    """Returns a short hash of a configuration, the same for equal values in any order of fields."""
    text = json.dumps(plain(config), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def git_revision() -> str:
    """Returns what identifies the library's sources.

    That is the revision of their own repository, with `-dirty` when they were changed; for an installed package the
    revision that it was installed from, where the installer kept it, or `version X`; else `unknown`. A repository
    that merely surrounds the installed files says nothing of them.
    """
    here = Path(__file__)
    if _git("ls-files", "--error-unmatch", here.name) is None:
        return _installed_revision()
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or "unknown"


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _installed_revision() -> str:
    try:
        package = metadata.distribution("recycle_jax")
    except metadata.PackageNotFoundError:
        return "unknown"
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    return (origin.get("vcs_info") or {}).get("commit_id") or f"version {package.version}"


def _require_same(workdir: Workdir, config: Any) -> None:
    if changed := differences(read_json(workdir.config), config):
        raise ValueError(
            f"{workdir.path} holds a run of another configuration ({changed}); choose another --workdir, "
            f"go back to the old values, or delete that directory"
        )


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which fields of two configurations, both as JSON has them, are not the same; empty where all are."""
    old, new = _flat(there), _flat(now)
    changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    lines = "; ".join(f"{name}: {old.get(name)!r} there, {new.get(name)!r} now" for name in changed[:5])
    return f"{lines} and {len(changed) - 5} more" if len(changed) > 5 else lines


def _flat(value: Any, where: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {where: value}
    return {
        name: leaf for key, item in value.items() for name, leaf in _flat(item, f"{where}.{key}".strip(".")).items()
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


def device_name() -> str:
    """Count and kind of the devices, such as `8 x TPU v4`; of a CPU its cores too."""
    devices = jax.devices()
    kind = devices[0].device_kind
    cores = f" ({os.cpu_count()} cores)" if devices[0].platform == "cpu" else ""
    return f"{len(devices)} x {kind}{cores}"
