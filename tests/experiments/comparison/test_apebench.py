"""The outside judge: our network is the suite's, histories are handed on rightly, cells survive."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("apebench")

import apebench

from experiments.comparison import apebench as apebench_judge
from experiments.comparison import apebench_suite
from experiments.comparison.apebench import Config
from experiments.comparison.apebench_net import conv_net, frame_network, to_fields, to_frames
from experiments.comparison.apebench_ours import Recipe, keeps_its_mean, train_ours
from experiments.comparison.apebench_suite import Setting, Task, judge, suite_network, suite_rollout, train_by_suite
from experiments.comparison.baselines.relay import Relay
from experiments.comparison.runner import Share
from recycle_jax.io.workdir import open_workdir
from recycle_jax.models.base import parameter_count
from recycle_jax.training.loop import Observer

SETTING = Setting(updates=3, rows=2, width=4, depth=2)


@pytest.fixture(autouse=True)
def _suites_promotion():
    """The suite mixes dtypes; the experiment runs it as users do."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def small_scenario(**more):
    return apebench.scenarios.difficulty.BurgersSingleChannel(
        num_points=32,
        num_train_samples=3,
        train_temporal_horizon=6,
        num_test_samples=2,
        test_temporal_horizon=4,
        **more,
    )


@pytest.fixture(scope="module")
def task():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        scenario = small_scenario(optim_config="adam;3;warmup_cosine;0.0;1e-3;1", batch_size=2)
        train, test = np.asarray(scenario.get_train_data()), np.asarray(scenario.get_test_data())
        return Task(name="burgers", scenario=scenario, train=train, test=test)


def of_suite(dims):
    scenario = apebench.scenarios.difficulty.Diffusion(num_spatial_dims=dims, num_points=16)
    task = Task(name="any", scenario=scenario, train=np.zeros((1, 2, 1, *[16] * dims)), test=np.zeros(1))
    return task, suite_network(task, SETTING, jax.random.PRNGKey(1), name="conv")


@pytest.mark.parametrize("dims", [1, 2])
def test_our_network_is_the_suites(dims):
    task, theirs = of_suite(dims)
    x = jax.random.normal(jax.random.key(2), (3, 1, *[16] * dims))
    expected = jax.jit(jax.vmap(theirs))(x)
    kernels, biases = [layer.weight for layer in theirs.layers], [layer.bias for layer in theirs.layers]
    fast = jax.vmap(suite_network(task, SETTING, jax.random.PRNGKey(1)))
    for name, got in (("ours", jax.jit(conv_net)(kernels, biases, x)), ("theirs, shifted", jax.jit(fast)(x))):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6, err_msg=f"{name}: another function")


def small_network(scale):
    return frame_network(width=SETTING.width, depth=SETTING.depth, channels=1, dims=1, scale=scale)


def test_frames_go_through_the_same_network_in_field_units():
    _, theirs = of_suite(1)
    network = small_network(scale=5.0)
    params = network.init(jax.random.key(0))
    for number, layer in enumerate(theirs.layers):
        params["kernels"][number], params["biases"][number] = layer.weight, layer.bias
    fields = jax.random.normal(jax.random.key(3), (2, 1, 1, 16))
    frame = jax.jit(network.apply)(params, to_frames(fields / 5.0), jnp.zeros(2), None)
    expected = jax.jit(jax.vmap(theirs))(fields[:, 0])
    np.testing.assert_allclose(to_fields(frame, 1)[:, 0] * 5.0, expected, rtol=1e-5, atol=1e-6)


def test_the_network_has_the_suites_size():
    network = frame_network(width=26, depth=10, channels=1, dims=1, scale=1.0)
    params = jax.eval_shape(network.init, jax.random.key(0))
    assert parameter_count(params) == 18_669, "the suite's Conv;26;10;relu has 18,669 parameters"


def test_start_is_drawn_as_the_suite_draws_it():
    params = small_network(scale=1.0).init(jax.random.key(0))
    _, theirs = of_suite(1)
    for number, layer in enumerate(theirs.layers):
        for ours, other in ((params["kernels"][number], layer.weight), (params["biases"][number], layer.bias)):
            assert ours.shape == other.shape
        bound = 1.0 / np.sqrt(layer.weight.shape[1] * 3)
        for drawn in (params["kernels"][number], layer.weight):
            assert 0.7 * bound < float(jnp.abs(drawn).max()) <= bound, "another range of start values"


def test_truth_is_judged_perfect_and_standing_still_is_not(task):
    truth = judge(task, task.test[:, 1:])
    assert truth["valid_steps"] == 4.0 and truth["curves"]["mean_nRMSE"] == [0.0] * 4
    still = judge(task, np.broadcast_to(task.test[:, :1], task.test[:, 1:].shape))
    assert 0.0 < still["gmean_nrmse"] < 2.0


def test_the_suite_trains_the_shifted_network(task):
    network = train_by_suite(task, SETTING, "sup;2", seed=0)
    assert suite_rollout(task, network).shape == task.test[:, 1:].shape


def test_ours_trains_and_rolls_out(task):
    made = train_ours(task, SETTING, Recipe(relay=Relay(capacity=8)), "ours", 0, Observer())
    assert made.rollout.shape == task.test[:, 1:].shape and np.isfinite(made.rollout).all()
    assert made.cost_over_one == 1.0, "recycling from the pass itself costs no call"


def test_what_the_training_data_conserve_is_conserved(task):
    assert keeps_its_mean(task)
    rows = train_ours(task, SETTING, Recipe(relay=Relay(capacity=8)), "ours_conserving", 0, Observer()).rollout
    means = rows.mean(-1)
    np.testing.assert_allclose(means, np.broadcast_to(task.test[:, :1].mean(-1), means.shape), atol=1e-5)
    growing = dataclasses.replace(task, train=task.train + np.arange(task.train.shape[1])[:, None, None])
    assert not keeps_its_mean(growing), "only what every trajectory keeps is kept"


def test_published_cells_give_the_same_table_again(task, tmp_path, monkeypatch):
    monkeypatch.setattr(apebench_suite, "build_task", lambda name, setting: dataclasses.replace(task, name=name))
    rollouts = iter(task.test[:, 1:] * np.float32(1.0 + 0.01 * k) for k in range(1, 5))
    monkeypatch.setattr(apebench_judge, "train", lambda *args: (next(rollouts), 1.0))
    config = Config(scenarios=("burgers",), methods=("one", "ours"), seeds=(0, 1), setting=SETTING)
    published = tmp_path / "published.json"
    first = apebench_judge.Command(config=config, publish=str(published))
    results = apebench_judge.main(first, tmp_path / "a", "smoke")
    again = apebench_judge.Command(config=config, share=Share(part=-1), earlier=str(published))
    taken = apebench_judge.main(again, tmp_path / "b", "smoke")
    assert taken["ratios"] == results["ratios"]
    for method in ("one", "ours"):
        was, now = results["scenarios"]["burgers"][method], taken["scenarios"]["burgers"][method]
        assert now.pop("nrmse_at") == pytest.approx(was.pop("nrmse_at")) and now == was
    narrower = dataclasses.replace(config, methods=("one",), seeds=(0,))
    kept = apebench_judge.main(dataclasses.replace(again, config=narrower), tmp_path / "c", "smoke")
    assert kept["ratios"] == results["ratios"], "what was published is kept, whatever a command asks for"


def test_cells_are_made_once_and_a_broken_one_again(task, tmp_path, monkeypatch, capsys):
    made = []
    perfect = task.test[:, 1:] * np.float32(1.01)
    monkeypatch.setattr(apebench_suite, "build_task", lambda name, setting: dataclasses.replace(task, name=name))
    monkeypatch.setattr(apebench_judge, "train", lambda *args: made.append(args[3:]) or (perfect, 1.0))
    config = Config(scenarios=("burgers",), methods=("one", "ours"), seeds=(0, 1), setting=SETTING)
    command = apebench_judge.Command(config=config)
    results = apebench_judge.main(command, tmp_path, "smoke")
    assert len(made) == 4
    assert results["scenarios"]["burgers"]["ours"]["gmean_nrmse"] == pytest.approx([0.01, 0.01], rel=1e-3)
    assert results["ratios"]["burgers"]["ours/one"]["gmean_nrmse"] == pytest.approx(1.0)
    broken = apebench_judge.cell_path(
        open_workdir(tmp_path, {"setting": SETTING, **_rest(config)}), "burgers", "one", 1
    )
    broken.write_text('{"scenario"')
    apebench_judge.main(command, tmp_path, "smoke")
    assert made[4:] == [("one", 1)] and "made again" in capsys.readouterr().err


def _rest(config):
    return {"recipe": config.recipe, "lyapunov_steps": config.lyapunov_steps}


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="nearest: burgers"):
        Config(scenarios=("burger",))
    with pytest.raises(ValueError, match="ours"):
        Config(methods=("our",))
