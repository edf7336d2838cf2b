"""The loop: what it tells, and that stopping, however it comes, changes no bit of the result."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.io import checkpoint
from recycle_jax.io.lock import InUse, in_use
from recycle_jax.io.writers import write_json
from recycle_jax.training.interrupt import Interrupted, deferred_interrupt
from recycle_jax.training.loop import Observer, Schedule


def assert_identical(one, other):
    """Every leaf to the bit: parameters, optimiser, counters, bank, chains and key."""
    jax.tree.map(np.testing.assert_array_equal, bits(one), bits(other))


def bits(tree):
    """Keys as the integers under them, the rest as it is; on the host."""
    is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    return jax.tree.map(lambda leaf: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf), tree)


@pytest.fixture(scope="module")
def unbroken(program):
    """The final state of a run that nothing stopped, and what it logged."""
    records = []
    return program.run(program.fresh(), Observer(log=records.append)), records


def test_the_run_is_not_trivial(program, unbroken):
    state, _ = unbroken
    assert state.train.step == program.schedule.updates and state.train.refused == 0
    assert state.bank.inserted[0] > 0 and state.bank.count[0, 0] == 8, "the bank must be full to be tested"
    start = program.fresh()
    assert state.train.params["newest"] != start.train.params["newest"]
    assert np.any(np.asarray(state.chains.position)) and np.any(state.chains.context != start.chains.context)


def test_a_record_an_interval(unbroken):
    _, records = unbroken
    assert [record["step"] for record in records] == [2, 4, 6, 8, 10]
    for record in records:
        assert record["finite"] == 1.0 and "refused" not in record
        assert record["loss"] > 0.0 and record["gradient_norm"] > 0.0 and record["seconds_per_update"] > 0.0
        assert {"harvest_score", "harvest_age", "harvest_accepted", "harvest_banked"} <= record.keys()
    # 2 of 4 rows a step ask the bank, which gets its first cases (age 1) in the first harvest.
    assert "loss_recycled" in records[-1] and "loss_clean" in records[-1]
    assert records[-1]["empty_draws"] == 0.0


def test_the_mean_loss_is_that_of_clean_and_recycled_rows(unbroken):
    _, records = unbroken
    last = records[-1]
    np.testing.assert_allclose(last["loss"], 0.5 * (last["loss_clean"] + last["loss_recycled"]), rtol=1e-5)


def test_the_order_of_a_step_and_how_often_each_part_comes(program, tmp_path):
    events = []

    @dataclasses.dataclass(frozen=True)
    class Noted:
        inner: object
        name: str

        def batch(self, step, rows, frames):
            events.append((self.name, step))
            return self.inner.batch(step, rows, frames)

    def watch(state, harvest):
        assert set(harvest) == {"score", "age", "accepted", "banked"}
        events.append(("watch", int(state.train.step), checkpoint.latest_step(tmp_path)))

    noted = dataclasses.replace(program.harvesting, clips=Noted(program.source, "harvest"))
    object.__setattr__(program, "harvesting", noted)
    try:
        observer = Observer(
            log=lambda record: events.append(("log", record["step"])), watch=watch, checkpoints=tmp_path
        )
        data = Noted(program.source, "data")
        program.run(program.fresh(), observer, source=data, updates=6, watch_every=4, first_batch=100)
    finally:
        object.__setattr__(program, "harvesting", dataclasses.replace(noted, clips=program.source))
    step = lambda i: [("data", 100 + i)]  # noqa: E731
    first = [("harvest", 100), *step(0), *step(1), ("log", 2), ("harvest", 102), *step(2), *step(3)]
    # The watch looks before the round is saved: no checkpoint yet.
    rest = [("log", 4), ("watch", 4, None), ("harvest", 104), *step(4), *step(5), ("log", 6)]
    assert events[1:] == first[1:] + rest and events[0] == first[0]
    assert checkpoint.steps(tmp_path) == [4, 6]


def test_a_resumed_run_ends_where_an_unbroken_one_does(program, unbroken, tmp_path):
    class Stop(Exception):
        pass

    def stop(record):
        if record["step"] == 6:
            raise Stop

    with pytest.raises(Stop):
        program.go_on(tmp_path, log=stop)
    assert checkpoint.steps(tmp_path) == [4]
    records = []
    assert_identical(program.go_on(tmp_path, log=records.append), unbroken[0])
    assert records[-1]["loss"] == unbroken[1][-1]["loss"]
    assert checkpoint.latest_step(tmp_path) == 10
    assert_identical(program.go_on(tmp_path), unbroken[0]), "a finished run has nothing left to do"


@pytest.mark.parametrize(("number", "name", "status"), [("SIGINT", "Ctrl-C", 130), ("SIGTERM", "SIGTERM", 143)])
def test_a_signal_saves_says_how_to_go_on_and_loses_nothing(program, unbroken, tmp_path, number, name, status):
    number = signal.Signals[number]

    def press(record):
        if record["step"] == 6:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"stopped by {name}; .*run the same command again") as stopped:
        program.go_on(tmp_path, log=press)
    assert signal.getsignal(number) is before
    assert isinstance(stopped.value, KeyboardInterrupt) and stopped.value.exit_status == status
    assert "step 6 is saved in" in str(stopped.value) and str(tmp_path) in str(stopped.value)
    assert checkpoint.latest_step(tmp_path) == 6
    assert not in_use(tmp_path)
    assert_identical(program.go_on(tmp_path), unbroken[0])


def test_a_signal_amid_the_last_save_is_not_lost(program, tmp_path, monkeypatch):
    real = checkpoint.save

    def pressed(directory, step, state):
        signal.raise_signal(signal.SIGTERM)
        return real(directory, step, state)

    monkeypatch.setattr(checkpoint, "save", pressed)
    with pytest.raises(Interrupted, match="stopped by SIGTERM; step 2 is saved in"):
        program.run(program.fresh(), Observer(checkpoints=tmp_path), updates=2)
    assert checkpoint.steps(tmp_path) == [2]


def test_a_second_run_in_the_same_directory_is_refused_before_it_trains(program, tmp_path, monkeypatch):
    write_json(tmp_path / ".lock", {"host": "here", "pid": 7, "started": "earlier", "token": "x"})

    def held_by_another(*_):
        raise BlockingIOError

    monkeypatch.setattr("recycle_jax.io.lock._locked_file", held_by_another)
    records = []
    with pytest.raises(InUse, match="in use by process 7 on here, which began at earlier"):
        program.run(program.fresh(), Observer(log=records.append, checkpoints=tmp_path))
    assert records == [] and checkpoint.steps(tmp_path) == []


def test_no_progress_where_none_is_wanted(program, capsys):
    program.run(program.fresh(), Observer(label=None), updates=2)
    assert capsys.readouterr() == ("", "")
    program.run(program.fresh(), Observer(label="b"), updates=2)
    begins, ends = capsys.readouterr().err.splitlines()
    assert begins == "b: begins, 2 in all" and ends.startswith("b: ended, 2 of 2 (100%), loss ")


def test_ctrl_c_without_a_workdir_says_that_nothing_is_saved(program):
    press = lambda record: signal.raise_signal(signal.SIGINT)  # noqa: E731
    with pytest.raises(Interrupted, match="nothing is saved without a workdir"):
        program.run(program.fresh(), Observer(log=press))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_does_not_wait(number, status):
    with deferred_interrupt() as pressed:
        assert pressed() is None
        signal.raise_signal(signal.SIGTERM)
        assert pressed() == signal.SIGTERM
        with pytest.raises(Interrupted, match="stopped at once by a second") as stopped:
            signal.raise_signal(number)
    assert stopped.value.exit_status == status


def test_a_killed_run_goes_on_to_the_same_bits(tiny, program, unbroken, tmp_path):
    """`kill -9` two steps after the first checkpoint; another process, this one, goes on."""
    command = [sys.executable, str(Path(tiny.__file__)), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "JAX_PLATFORMS": "cpu"}
    child = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 240.0
        while checkpoint.latest_step(tmp_path) is None and child.poll() is None:
            assert time.monotonic() < deadline, "no checkpoint within 240 s"
            time.sleep(0.05)
    finally:
        child.kill()
        _, errors = child.communicate()
    assert child.returncode == -signal.SIGKILL, f"the run ended by itself:\n{errors.decode()[-3000:]}"
    assert checkpoint.steps(tmp_path) == [tiny.SAVE_EVERY]
    assert_identical(program.go_on(tmp_path), unbroken[0])


@dataclasses.dataclass(frozen=True)
class Poisoned:
    """`Waves` of which some batches hold a NaN."""

    inner: object
    bad: tuple[int, ...]

    def batch(self, step, rows, frames):
        batch = self.inner.batch(step, rows, frames)
        return batch.replace(clip=batch.clip.at[0, -1].set(jnp.nan)) if step in self.bad else batch


def test_one_bad_batch_is_passed_over_counted_and_named(program):
    records = []
    source = Poisoned(program.source, (3,))
    state = program.run(program.fresh(), Observer(log=records.append), source=source)
    assert state.train.refused == 1 and state.train.last_refused == 3
    assert records[0]["finite"] == 1.0 and "refused" not in records[0]
    assert records[1]["finite"] == 0.5 and records[-1]["finite"] == 1.0
    assert records[-1]["refused"] == 1 and records[-1]["last_refused"] == 3
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.train.params))


def test_an_interval_of_bad_batches_stops_the_run_with_the_last_good_state_saved(program, tmp_path):
    source = Poisoned(program.source, (4, 5))
    with pytest.raises(FloatingPointError, match="newest refused step: 5.*is saved in.*learning rate"):
        program.run(program.fresh(), Observer(checkpoints=tmp_path), source=source)
    good = program.run(program.fresh(), Observer(), updates=4)
    _, saved = checkpoint.restore(tmp_path, program.fresh(), step=6)
    assert_identical((saved.train.params, saved.train.opt_state), (good.train.params, good.train.opt_state))
    with pytest.raises(FloatingPointError, match="not saved, without a workdir"):
        program.run(program.fresh(), Observer(), source=source)


def test_a_gradient_that_is_not_finite_stops_the_run_too(program, tiny):
    """A finite loss alone is no proof of progress."""
    from recycle_jax.training.loop import _record, _require_finite

    step = {"loss": np.float32(1.0), "gradient_norm": np.float32(np.nan), "empty_draws": np.float32(0.0)}
    state = program.fresh()
    train = state.train.replace(refused=jnp.int32(1), last_refused=jnp.int32(7))
    record = _record([step], {}, train, 1.0)
    assert record["finite"] == 0.0
    with pytest.raises(FloatingPointError, match="newest refused step: 7"):
        _require_finite(record, state, None)


@pytest.mark.parametrize("name", ["updates", "rows", "frames", "log_every"])
def test_a_schedule_of_nothing_is_refused(name):
    given = {"updates": 1, "rows": 1, "frames": 1, "log_every": 1, name: 0}
    with pytest.raises(ValueError, match=f"{name} is 0, must be at least 1: raise it"):
        Schedule(**given)
