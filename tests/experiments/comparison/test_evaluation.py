"""What judged rollouts remember, from measurement to cell."""

import numpy as np
import pytest

from experiments.comparison.evaluation import START_SEED, Judging, cell_measurement, with_memory
from experiments.comparison.worlds_task import world_judge, world_source
from recycle_jax.data.worlds.balls import BouncingBalls
from recycle_jax.drift.bands import Bands
from recycle_jax.drift.base import measure
from recycle_jax.drift.monitor import Monitor

WORLD = BouncingBalls(size=16, balls=1, context_frames=2)
CONTEXT, FRAMES = 2, 32


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("experiments.comparison.evaluation.BANDS", tmp_path_factory.mktemp("bands"))
        return world_judge("balls", WORLD, 1, CONTEXT, Judging(max_frames=FRAMES, rollouts=16, real_rollouts=40))


def real_cell(judged, seed):
    """The world's own clips, measured as a generator's rollouts are."""
    clip = world_source(WORLD)(START_SEED + seed).batch(0, 16, CONTEXT + FRAMES).clip
    monitor: Monitor = judged.monitor
    assert isinstance(monitor.bands, Bands)
    return cell_measurement(monitor, measure(monitor, clip[:, :CONTEXT], clip[:, CONTEXT:]))


def test_real_continuations_remember_and_other_clips_do_not(judged):
    own, other = (with_memory(real_cell(judged, seed), judged)["memory"] for seed in (0, 1))
    assert own["frames"][-1] == FRAMES
    assert min(own["correlation"]) > 0.9
    np.testing.assert_allclose(own["spread"], 1.0, atol=0.3)
    assert max(np.abs(other["correlation"])) < 0.7


def test_a_cell_without_the_curves_of_single_rollouts_stays_as_it_is(judged):
    cell = real_cell(judged, 0)
    cell["curves"]["motion"].pop("rollouts")
    assert "memory" not in with_memory(cell, judged)
