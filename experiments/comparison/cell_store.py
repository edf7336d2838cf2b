"""Where a comparison's cells lie, how results are published, and how a new workdir resumes from what was published.

A table may grow for longer than a machine lasts. So the published file is more than a copy to look at: its cells can
be taken over into an empty workdir, and the settings that the screening had chosen with them. Exits, costs and losses
are whole in it, of the curves only the means over rollouts; what was concluded from the curves of single rollouts (laws
of growth, intervals of motion and mass) is therefore taken over too, as long as an entry has the same seeds.
"""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.comparison.cells import is_summary
from experiments.comparison.old_names import renamed, without_removed
from recycle_jax.drift.bands import Bands
from recycle_jax.drift.summary import FROM_CURVES, grouped
from recycle_jax.io.files import write_bytes
from recycle_jax.io.paths import named
from recycle_jax.io.workdir import Workdir, differences
from recycle_jax.io.writers import plain, read_json, write_json
from recycle_jax.report.failures import rollout_failures


def cell_path(workdir: Workdir, world: str, kind: str, method: str, seed: int, suffix: str = "") -> Path:
    """Where a cell is or will be; the suffix is a domain, `long`, or nothing."""
    shown = f"-{suffix}" if suffix else ""
    return named(workdir.path / "cells", f"{world}-{kind}-{method}-{seed}{shown}.json")


def seeds_there(workdir: Workdir) -> set[int]:
    """Training seeds that a workdir has a cell of, so that no cell is lost by a command that names fewer."""
    paths = (workdir.path / "cells").glob("*.json")
    return {int(found[1]) for path in paths if (found := re.search(r"-(\d+)(-\w+)?$", path.stem))}


def is_there(path: Path) -> bool:
    """Whether a cell is finished; one that cannot be read is reported and made again."""
    if not path.exists():
        return False
    try:
        read_json(path)
    except ValueError as error:
        warnings.warn(f"{path} is corrupt ({error}); it is made again", stacklevel=2)
        path.unlink()
        return False
    return True


def publish(path: str, results: dict[str, Any]) -> None:
    """Writes results to be committed: a line a cell, with the means of its curves; laws are in the summary."""
    slim = [_slim(cell, results["bands"].get(cell["world"])) for cell in results["cells"]]
    write_by_lines(path, {**results, "cells": slim})


def write_by_lines(path: str | Path, results: Mapping[str, Any]) -> None:
    """Writes JSON with a line for every cell and entry, so that two versions of a file can be compared."""
    fields = [f"{_line(name)}:{_lines(value)}" for name, value in plain(dict(results)).items()]
    write_bytes(path, ("{" + ",\n".join(fields) + "}\n").encode())


def _lines(value: Any) -> str:
    """JSON with a line for every item, so that two versions of a file can be compared."""
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"{_line(name)}:{_line(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_line, value)) + "]"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _slim(cell: dict[str, Any], bands: dict[str, Any] | None) -> dict[str, Any]:
    """A cell without the curves of single rollouts; how each rollout ended is kept in words."""
    if _is_slim(cell):
        return cell
    curves = {name: {"frames": curve["frames"], "mean": curve["mean"]} for name, curve in cell["curves"].items()}
    failure = ["+".join(names) for names in rollout_failures(cell, bands)]
    return {**cell, "curves": curves, "rollouts": {**cell["rollouts"], "failure": failure}}


def _is_slim(cell: Mapping[str, Any]) -> bool:
    return "failure" in cell["rollouts"]


def take_over(path: str | Path, workdir: Workdir, preset: str, usual_frames: int) -> int:
    """Fills a workdir with the cells of a published file that it does not have yet; returns how many.

    Args:
        path: what `publish` wrote.
        workdir: where to; what else was published lies there as `earlier.json` afterwards.
        preset: of this run.
        usual_frames: length of the usual rollouts; cells of longer ones are filed as long.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a summary, was made with another preset, or of other settings than the workdir's.
    """
    earlier = read_json(path)
    if earlier["preset"] != preset:
        raise ValueError(f"{path} holds cells of preset {earlier['preset']!r}: go on with that one, not {preset!r}")
    if any(map(is_summary, earlier["cells"])):
        raise ValueError(f"{path} is a summary, which no run can go on from: give the full file, see its `full`")
    now = read_json(workdir.config)
    there = without_removed(renamed(earlier.get("made_of", now)), now)
    if changed := differences(there, now):
        raise ValueError(f"{path} holds cells of other settings ({changed}): go back to those, or do without it")
    made_by = {"preset": earlier["preset"], "device": earlier["device"]}
    filed = [(_place(workdir, cell, usual_frames), {**made_by, **cell}) for cell in earlier["cells"]]
    missing = [(place, cell) for place, cell in filed if not is_there(place)]
    for place, cell in missing:
        write_json(place, cell)
    kept = {
        "summary": earlier["summary"],
        "bands": {world: bands["sha"] for world, bands in earlier["bands"].items()},
    }
    write_json(_earlier(workdir), kept)
    return len(missing)


def known_of_curves(
    workdir: Workdir, cells: Sequence[Mapping[str, Any]], bands: Mapping[str, Bands]
) -> dict[str, dict[str, Any]]:
    """Entry -> what was concluded from its single curves, where these are no longer there; for `summarise`.

    Raises:
        ValueError: if a world's bands are others than those by which taken-over cells were evaluated.
    """
    earlier = _taken_over(workdir)
    for world in {cell["world"] for cell in cells if _is_slim(cell)}:
        if earlier["bands"].get(world, bands[world].sha) != bands[world].sha:
            raise ValueError(f"the bands of {world} have changed since its cells were published: remove those cells")
    return {
        name: {key: earlier["summary"][name][key] for key in FROM_CURVES}
        for name, members in grouped(cells).items()
        if all(map(_is_slim, members)) and earlier["summary"].get(name, {}).get("seeds") == len(members)
    }


def _taken_over(workdir: Workdir) -> dict[str, Any]:
    path = _earlier(workdir)
    return read_json(path) if path.exists() else {"summary": {}, "bands": {}}


def _earlier(workdir: Workdir) -> Path:
    return workdir.file("earlier.json")


def _place(workdir: Workdir, cell: Mapping[str, Any], usual_frames: int) -> Path:
    domain = "" if cell["train_domain"] == cell["eval_domain"] else cell["eval_domain"]
    suffix = "long" if cell["max_frames"] > usual_frames else domain
    return cell_path(workdir, cell["world"], cell["generator"], cell["method"], cell["seed"], suffix)
