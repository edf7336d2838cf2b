"""A published table is enough to go on from: cells, choices and what was read from curves that are gone."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from experiments.comparison.cell_store import (
    cell_path,
    known_of_curves,
    publish,
    seeds_there,
    take_over,
)
from recycle_jax.drift.bands import Bands
from recycle_jax.drift.summary import summarise
from recycle_jax.io.workdir import open_workdir
from recycle_jax.io.writers import write_json

FRAMES = 64
BANDS = Bands(
    statistics={"distance": (0.0, 0.01), "motion": (0.0, 1.0), "retention": (0.5, 1.5)},
    means={"distance": 0.001, "motion": 0.1, "retention": 1.0},
    window=8,
    max_frames=FRAMES,
    calibration_exit_fraction=0.0,
    real_exit_fraction=0.0,
    calibration_rollouts=4,
    check_rollouts=4,
)


def cell(seed: int, frames: int = FRAMES, domain: str = "all", method: str = "ours") -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0.5, 1.5, (4, 8))
    curve = {"frames": [1, 4, 16, frames], "mean": rows.mean(1).tolist(), "rollouts": rows.tolist()}
    return {
        "world": "balls",
        "generator": "flow",
        "method": method,
        "seed": seed,
        "train_domain": "all",
        "eval_domain": domain,
        "max_frames": frames,
        "rollouts": {"exit_frame": [8.0] * 8, "censored": [False] * 8, "cause": ["motion"] * 8},
        "curves": {"distance": curve, "motion": curve, "retention": curve},
        "clean_loss": 0.001,
        "cost": {"train_flops": 1.0, "harvest_flops": 0.0, "eval_flops_used_for_choices": 0.0},
    }


def results(cells: list[dict[str, Any]], bands: Bands = BANDS) -> dict[str, Any]:
    return {
        "preset": "small",
        "device": "4 x abacus",
        "bands": {"balls": bands.to_json()},
        "settings": {"ours": "ours=loose"},
        "cells": cells,
        "summary": summarise(cells, {"balls": bands}),
    }


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "compare.json"
    publish(str(path), results([cell(0), cell(1), cell(0, frames=FRAMES * 10), cell(0, domain="fast")]))
    return path


@pytest.fixture
def workdir(tmp_path):
    return open_workdir(tmp_path / "run", {})


def test_a_published_file_has_a_line_for_every_cell(published):
    cells = json.loads(published.read_text())["cells"]
    lines = published.read_text().splitlines()
    alone = [json.dumps(cell, separators=(",", ":")) for cell in cells]
    assert len(cells) == 4
    assert all(any(line.startswith(cell) for line in lines) for cell in alone)


def test_every_cell_finds_its_place(published, workdir):
    assert take_over(published, workdir, "small", FRAMES) == 4
    for seed, suffix in ((0, ""), (1, ""), (0, "long"), (0, "fast")):
        found = json.loads(cell_path(workdir, "balls", "flow", "ours", seed, suffix).read_text())
        assert found["seed"] == seed and found["rollouts"]["exit_frame"] == [8.0] * 8
        assert (found["preset"], found["device"]) == ("small", "4 x abacus"), (
            "a cell says who made it, wherever it goes"
        )


def test_cells_of_other_settings_are_not_taken_over(tmp_path):
    path = tmp_path / "compare.json"
    publish(str(path), {**results([cell(0)]), "made_of": {"budget": {"base": 4000}}})
    with pytest.raises(ValueError, match="budget.base: 4000 there, 1000 now"):
        take_over(path, open_workdir(tmp_path / "other", {"budget": {"base": 1000}}), "small", FRAMES)
    assert take_over(path, open_workdir(tmp_path / "same", {"budget": {"base": 4000}}), "small", FRAMES) == 1


def test_settings_of_older_files_are_read_under_their_new_names(tmp_path):
    path, old = tmp_path / "compare.json", {"choices": {"pull": 0.5}, "recycling": {"mended": 0.0, "paced": False}}
    publish(str(path), {**results([cell(0)]), "made_of": old})
    now = {"choices": {"reanchor_rate": 0.5}, "recycling": {"repair_prob": 0.0}}
    assert take_over(path, open_workdir(tmp_path / "run", now), "small", FRAMES) == 1
    publish(str(path), {**results([cell(0)]), "made_of": {**old, "recycling": {"mended": 0.0, "paced": True}}})
    with pytest.raises(ValueError, match="recycling.paced: True there"):
        take_over(path, open_workdir(tmp_path / "other", now), "small", FRAMES)


def test_a_cell_that_is_there_is_not_replaced(published, workdir):
    path = cell_path(workdir, "balls", "flow", "ours", 0)
    path.parent.mkdir()
    path.write_text('{"newer": true}')
    assert take_over(published, workdir, "small", FRAMES) == 3
    assert json.loads(path.read_text()) == {"newer": True}


def test_what_was_published_can_be_published_again(published, workdir, tmp_path):
    take_over(published, workdir, "small", FRAMES)
    earlier = json.loads(published.read_text())
    again = tmp_path / "again.json"
    publish(str(again), earlier)
    assert json.loads(again.read_text()) == earlier


def test_laws_survive_the_curves_that_they_were_read_from(published, workdir):
    take_over(published, workdir, "small", FRAMES)
    earlier = json.loads(published.read_text())
    slim, bands = earlier["cells"], {"balls": BANDS}
    alone = summarise(slim, bands)
    name = "balls/flow/ours"
    assert alone[name]["dynamics_ratio"] != earlier["summary"][name]["dynamics_ratio"], "else there is nothing to keep"
    kept = summarise(slim, bands, known=known_of_curves(workdir, slim, bands))
    for entry in ("growth", "dynamics_ratio", "retention", "horizon_frames", "survival"):
        assert kept[name][entry] == earlier["summary"][name][entry]


def test_an_entry_with_another_seed_is_read_anew(published, workdir):
    take_over(published, workdir, "small", FRAMES)
    more = [*json.loads(published.read_text())["cells"], cell(2)]
    assert "balls/flow/ours" not in known_of_curves(workdir, more, {"balls": BANDS})


def test_other_bands_and_presets_are_refused(published, workdir):
    with pytest.raises(ValueError, match="preset 'small'"):
        take_over(published, workdir, "full", FRAMES)
    take_over(published, workdir, "small", FRAMES)
    slim = json.loads(published.read_text())["cells"]
    other = dataclasses.replace(BANDS, statistics={**BANDS.statistics, "distance": (0.0, 0.02)})
    with pytest.raises(ValueError, match="bands of balls have changed"):
        known_of_curves(workdir, slim, {"balls": other})


def test_without_anything_taken_over_nothing_changes(workdir):
    cells = [cell(0)]
    assert known_of_curves(workdir, cells, {"balls": BANDS}) == {}


def test_seeds_of_a_workdir_are_found_whoever_asked_for_them(tmp_path):
    place = open_workdir(tmp_path / "run", {})
    assert seeds_there(place) == set()
    places = [("b", 0, ""), ("ours:even,fast", 12, ""), ("ours=mended", 3, "long"), ("noise=0.05", 7, "night_rain")]
    for method, seed, suffix in places:
        path = cell_path(place, "balls", "flow", method, seed, suffix)
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    assert seeds_there(place) == {0, 3, 7, 12}


def test_a_cell_has_a_name_that_every_file_system_takes_and_is_found_under_its_old_one(workdir):
    path = cell_path(workdir, "arm", "flow", "ours:late", 2)
    assert path.name == "arm-flow-ours%3Alate-2.json"
    write_json(path, {})
    assert seeds_there(workdir) == {2}
    old = path.with_name("arm-flow-ours:cool-1.json")
    write_json(old, {})
    assert cell_path(workdir, "arm", "flow", "ours:cool", 1) == old
    assert seeds_there(workdir) == {1, 2}
