"""An exported step runs without this library and makes the frames of a rollout."""

import subprocess
import sys

import jax
import numpy as np

import recycle_jax as rj

ALONE = """
import sys
import jax
import numpy as np
import safetensors.flax

folder = sys.argv[1]
step = jax.export.deserialize(bytearray(open(f"{folder}/step.jax", "rb").read())).call
params = safetensors.flax.load_file(f"{folder}/saved/parameters.safetensors")
context = np.load(f"{folder}/start.npy")
made = []
for i in range(3):
    frames, context = step(params, context, None, np.int32(i))
    made.append(frames)
np.save(f"{folder}/made.npy", np.concatenate(made, axis=1))
assert "recycle_jax" not in sys.modules
"""


def test_a_step_runs_without_the_library(generator, clips, tmp_path):
    params, start = generator.init(jax.random.key(0)), clips.batch(0, 2, 2).clip
    rj.save(generator, params, tmp_path / "saved")
    rj.export(generator, params, start, tmp_path / "step.jax")
    np.save(tmp_path / "start.npy", start)
    run = subprocess.run([sys.executable, "-c", ALONE, tmp_path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose(np.load(tmp_path / "made.npy"), rj.rollout(generator, params, start, 3), atol=1e-5)
