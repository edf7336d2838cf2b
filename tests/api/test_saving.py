"""Saved generators: the same values come back in another process, and nothing is lost on the way."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recycle_jax as rj

LOADED = """
import sys
import jax
import recycle_jax as rj

generator, params = rj.load(sys.argv[1])
start = jax.random.uniform(jax.random.key(1), (1, 2, 16, 16, 3), minval=-1.0)
print(float(rj.rollout(generator, params, start, 3).sum()))
assert not any(name.startswith(("experiments", "tests")) for name in sys.modules)
"""


def test_another_process_rolls_out_the_same(generator, tmp_path):
    params = generator.init(jax.random.key(0))
    folder = rj.save(generator, params, tmp_path / "saved", notes={"licence": "CC0"})
    start = jax.random.uniform(jax.random.key(1), (1, 2, 16, 16, 3), minval=-1.0)
    run = subprocess.run([sys.executable, "-c", LOADED, folder], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(float(rj.rollout(generator, params, start, 3).sum()), rel=1e-5)
    assert json.loads((folder / "generator.json").read_text())["notes"] == {"licence": "CC0"}


def test_parameters_keep_their_bits_and_dtypes(flow, tmp_path):
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), flow.init(jax.random.key(0)))
    again = rj.load(rj.save(flow, params, tmp_path / "saved"))[1]
    assert jax.tree.structure(again) == jax.tree.structure(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(again)} == {jnp.dtype("bfloat16")}
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_saving_again_replaces_and_leaves_nothing_behind(generator, tmp_path):
    for seed in (0, 1):
        params = generator.init(jax.random.key(seed))
        rj.save(generator, params, tmp_path / "saved")
    jax.tree.map(np.testing.assert_array_equal, rj.load(tmp_path / "saved")[1], params)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_parameters_alone_need_the_generator(generator, tmp_path):
    params = generator.init(jax.random.key(0))
    rj.save(None, params, tmp_path / "saved")
    jax.tree.map(np.testing.assert_array_equal, rj.load(tmp_path / "saved", generator)[1], params)
    with pytest.raises(ValueError, match=r"pass the generator too, load\(folder, generator\)"):
        rj.load(tmp_path / "saved")


def test_what_is_no_saved_generator_is_refused(generator, flow, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no generator\.json"):
        rj.load(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        rj.save(generator, generator.init(jax.random.key(0)), tmp_path)
    rj.save(generator, generator.init(jax.random.key(0)), tmp_path / "saved")
    with pytest.raises(ValueError, match="other parameters than this generator has"):
        rj.load(tmp_path / "saved", flow)
