"""The directory of one run: what lies in it, and what made it."""

import dataclasses
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from recycle_jax.io.files import explaining, write_bytes
from recycle_jax.io.writers import append_jsonl, plain, read_json, write_json

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


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


def open_workdir(path: str | os.PathLike[str], config: Any) -> Workdir:
    """Makes a run's directory, proves that it can be written, and records or checks the run's configuration.

    Args:
        path: the directory; made if it is missing, gone on with if it holds a run of the same configuration.
        config: the run's configuration, a dataclass or a mapping.

    Raises:
        OSError: the directory cannot be made or written, with the reason and the remedy.
        ValueError: it holds a run of another configuration, naming the fields that differ.
    """
    workdir = Workdir(path=Path(path).expanduser().absolute())
    with explaining(workdir.path):
        workdir.path.mkdir(parents=True, exist_ok=True)
    probe = write_bytes(workdir.file(f".probe.{os.getpid()}"), b"written to find out early whether it can be")
    probe.unlink(missing_ok=True)
    if workdir.config.exists():
        _require_same(workdir, plain(config))
    else:
        write_json(workdir.config, config)
    return workdir


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
    """Returns the revision of the sources, with `-dirty` when they were changed, or `unknown` outside git."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip() or "unknown"


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
