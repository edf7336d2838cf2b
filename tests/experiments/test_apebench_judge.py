"""The outside judge: our network is the suite's, histories are handed on rightly, cells survive."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("apebench")

import apebench

from experiments import apebench_judge, apebench_suite
from experiments.apebench_judge import Config
from experiments.apebench_net import conv_net, frame_network, to_fields, to_frames
from experiments.apebench_ours import Recipe, train_ours
from experiments.apebench_relay import Relay
from experiments.apebench_suite import Setting, Task, judge, suite_network, suite_rollout, train_by_suite
from recycle_jax.data.base import Batch
from recycle_jax.generators.predictor import Predictor
from recycle_jax.io.workdir import open_workdir
from recycle_jax.models.base import Network, parameter_count
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
    return task, suite_network(task, Setting(), jax.random.PRNGKey(1), name="conv")


@pytest.mark.parametrize("dims", [1, 2])
def test_our_network_is_the_suites(dims):
    task, theirs = of_suite(dims)
    x = jax.random.normal(jax.random.key(2), (3, 1, *[16] * dims))
    expected = jax.vmap(theirs)(x)
    kernels, biases = [layer.weight for layer in theirs.layers], [layer.bias for layer in theirs.layers]
    fast = suite_network(task, Setting(), jax.random.PRNGKey(1))
    for name, got in (("ours", conv_net(kernels, biases, x)), ("theirs, shifted", jax.vmap(fast)(x))):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6, err_msg=f"{name}: another function")


def test_frames_go_through_the_same_network_in_field_units():
    _, theirs = of_suite(1)
    network = frame_network(width=26, depth=10, channels=1, dims=1, scale=5.0)
    params = network.init(jax.random.key(0))
    assert parameter_count(params) == 18_669, "the suite's Conv;26;10;relu has 18,669 parameters"
    for number, layer in enumerate(theirs.layers):
        params["kernels"][number], params["biases"][number] = layer.weight, layer.bias
    fields = jax.random.normal(jax.random.key(3), (2, 1, 1, 16))
    frame = network.apply(params, to_frames(fields / 5.0), jnp.zeros(2), None)
    np.testing.assert_allclose(to_fields(frame, 1)[:, 0] * 5.0, jax.vmap(theirs)(fields[:, 0]), rtol=1e-5, atol=1e-6)


def test_start_is_drawn_as_the_suite_draws_it():
    params = frame_network(width=26, depth=10, channels=1, dims=1, scale=1.0).init(jax.random.key(0))
    _, theirs = of_suite(1)
    for number, layer in enumerate(theirs.layers):
        for ours, other in ((params["kernels"][number], layer.weight), (params["biases"][number], layer.bias)):
            assert ours.shape == other.shape
        most = float(jnp.abs(params["kernels"][number]).max())
        assert most == pytest.approx(float(jnp.abs(layer.weight).max()), rel=0.05), "another range of start values"


def counting():
    """Predicts the next of frames that count, a quarter too much."""
    network = Network(init=lambda key: {"step": jnp.float32(1.25)}, apply=lambda p, x, level, c: x[:, -1:] + p["step"])
    return Predictor(network=network, context_frames=1)


def counting_batch(rows, frames):
    number = 100.0 * jnp.arange(rows, dtype=jnp.float32)[:, None] + jnp.arange(frames, dtype=jnp.float32)
    return Batch(clip=number[:, :, None, None, None], domain=jnp.zeros(rows, jnp.int32))


def relay_passes(relay, passes, rows=8):
    """The bank after every pass, and the losses."""
    generator, batch = counting(), counting_batch(rows, relay.oldest + 2)
    bank, params = relay.begin(generator, batch, 1, jax.random.key(0)), generator.init(jax.random.key(0))
    for number in range(passes):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), number), rows)
        _, aux = relay.loss(params, generator, bank, batch, keys)
        bank = relay.record(bank, aux, keys, jnp.int32(number), jnp.bool_(True))
        yield relay.bank.read(bank), int(bank.count[0, 0]), aux


def test_a_prediction_becomes_a_history_followed_by_what_was_recorded():
    relay = Relay(oldest=3, capacity=64)
    for legs, count, _aux in relay_passes(relay, 6):
        kept = jax.tree.map(lambda leaf, n=count: np.asarray(leaf)[0, 0, :n], legs)
        assert (kept.age >= 1).all() and (kept.age <= relay.oldest).all(), "ages outside the window are banked"
        for context, future, age in zip(kept.context, kept.future, kept.age, strict=True):
            number = np.ravel(context)[0]
            recorded = np.round(number - 0.25 * age)
            assert number == recorded + 0.25 * age, "a history of this age is so many quarters too much"
            assert np.ravel(future)[0] == recorded + 1, "the target is not the frame recorded next"
    assert set(kept.age.tolist()) == {1, 2, 3}, "not all ages are met in six passes"


def test_a_relay_pays_for_updates_only_and_starts_clean():
    relay = Relay()
    assert relay.calls(counting()).forwards == 3.0
    _, _, aux = next(relay_passes(relay, 1))
    assert aux.clean.all() and aux.empty_draws > 0, "an empty bank leaves rows clean, and they are counted"


@pytest.mark.parametrize("wrong", [{"oldest": 0}, {"share": 1.0}, {"share": 0.0}])
def test_a_relay_says_what_is_wrong(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Relay(**wrong)


def test_truth_is_judged_perfect_and_standing_still_is_not(task):
    truth = judge(task, task.test[:, 1:])
    assert truth["valid_steps"] == 4.0 and truth["curves"]["mean_nRMSE"] == [0.0] * 4
    still = judge(task, np.broadcast_to(task.test[:, :1], task.test[:, 1:].shape))
    assert 0.0 < still["gmean_nrmse"] < 2.0


def test_the_suite_trains_the_shifted_network(task):
    network = train_by_suite(task, SETTING, "sup;2", seed=0)
    assert suite_rollout(task, network).shape == task.test[:, 1:].shape


@pytest.mark.parametrize("method", ["ours", "pushforward"])
def test_ours_train_and_roll_out(task, method):
    recipe = Recipe(relay=Relay(capacity=8))
    made = train_ours(task, SETTING, recipe, method, 0, Observer())
    assert made.rollout.shape == task.test[:, 1:].shape and np.isfinite(made.rollout).all()
    assert made.cost_over_one == pytest.approx(4.0 / 3.0 if method == "pushforward" else 1.0)


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
