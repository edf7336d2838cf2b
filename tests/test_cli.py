"""The command line: presets, dotted fields, and errors that offer the nearest names."""

import dataclasses
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import jax
import pytest

from recycle_jax import cli
from recycle_jax.cli import written_out

pytestmark = pytest.mark.fast


class World(Protocol):
    def render(self) -> int: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Balls:
    count: int = 1
    gravity: bool = False

    def render(self) -> int:
        return self.count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    steps: int = 1000
    learning_rate: float = 1e-3
    sizes: tuple[int, ...] = (32, 64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    train: Train = Train()
    world: World = Balls()
    loss: Callable[[int], int] = abs
    limit: float | None = None


PRESETS = {
    "smoke": lambda: Config(train=Train(steps=2)),
    "small": Config,
    "full": lambda: Config(world=Balls(count=9)),
}


def parse(*argv: str) -> cli.Run[Config]:
    return cli.parse(PRESETS, argv, name="quickstart")


def test_defaults() -> None:
    assert parse() == (Config(), Path("runs/quickstart"), "small")
    without_small = {"smoke": PRESETS["smoke"]}
    assert cli.parse(without_small, [], name="x").preset == "smoke"


def test_the_name_is_that_of_the_running_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/experiments/worlds.py", "--preset", "smoke"])
    run = cli.parse(PRESETS)
    assert (run.workdir, run.preset) == (Path("runs/worlds"), "smoke")


def test_preset_and_workdir() -> None:
    run = parse("--preset", "smoke", "--workdir", "/tmp/somewhere")
    assert run == (Config(train=Train(steps=2)), Path("/tmp/somewhere"), "smoke")


def test_fields_go_on_top_of_the_preset() -> None:
    run = parse("--preset", "full", "--train.steps", "7", "--train.learning_rate=-0.5", "--limit", "2")
    assert run.config == Config(train=Train(steps=7, learning_rate=-0.5), world=Balls(count=9), limit=2.0)


def test_a_shorthand_stands_for_a_field() -> None:
    short = {"steps": "train.steps"}
    for argv in (["--steps", "7"], ["--steps=7"], ["--train.steps", "7"]):
        assert cli.parse(PRESETS, argv, shorthands=short).config.train.steps == 7


def test_fields_behind_a_protocol_can_be_set_and_keep_their_type() -> None:
    config = parse("--world.count", "4", "--world.gravity", "True", "--train.sizes", "8", "16").config
    assert config == Config(world=Balls(count=4, gravity=True), train=Train(sizes=(8, 16)))
    assert type(config) is Config
    assert type(config.world) is Balls


def test_a_work_directory_in_a_bucket_stays_an_address() -> None:
    assert str(parse("--workdir", "gs://bucket/run").workdir) == "gs://bucket/run"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--workdir", "s3://bucket/run"], r"s3://bucket/run cannot be used; give a local directory, or gs://"),
        (["--preset", "smol"], r"unknown preset 'smol'; nearest: .*small"),
        (["--preset", "zzz"], r"unknown preset 'zzz'; there are: full, small, smoke"),
        (["--train.stpes", "3"], r"unknown field 'train\.stpes'; nearest: train\.steps"),
        (["--steps", "3"], r"unknown field 'steps'; nearest: train\.steps"),
        (["--world.cuont=3"], r"unknown field 'world\.cuont'; nearest: world\.count"),
        (["--train.steps", "many"], r"train\.steps.*'many'"),
        (["--workdir"], r"--workdir: expected one argument"),
    ],
)
def test_bad_input_is_named(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(*argv)
    output = capsys.readouterr()
    assert stop.value.code == 2
    assert re.search(message, output.err + output.out, re.DOTALL)


def test_a_surplus_word_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("surplus")
    assert stop.value.code == 2
    assert "surplus" in "".join(capsys.readouterr())


def test_help_lists_presets_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert not stop.value.code
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("{smoke,small,full}", "--workdir", "--train.steps", "--world.count"))


def test_presets_run_without_tyro_and_fields_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert parse("--preset", "smoke", "--workdir", "w").workdir == Path("w")
    with pytest.raises(SystemExit):
        parse("--train.steps", "3")
    assert re.search(r"--train\.steps needs tyro: `pip install tyro`", capsys.readouterr().err)


def test_hosts_are_joined_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda: calls.append("joined"))
    monkeypatch.delenv("RECYCLE_JAX_MULTIHOST", raising=False)
    parse()
    assert calls == []
    monkeypatch.setenv("RECYCLE_JAX_MULTIHOST", "1")
    parse()
    assert calls == ["joined"]


def test_a_command_is_written_out_with_everything_that_was_set() -> None:
    run = parse("--preset", "small", "--train.steps", "7", "--world.count", "3")
    default = parse("--preset", "small").config
    line = written_out("NAME", "small", default, run.config)
    assert line == "python -m experiments.NAME --preset small --train.steps 7 --world.count 3"
    assert parse(*shlex.split(line)[3:]).config == run.config
    assert written_out("NAME", "small", default, default) == "python -m experiments.NAME --preset small"
