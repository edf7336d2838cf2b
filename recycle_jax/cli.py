"""The command line of an experiment: `python -m experiments.NAME --preset small --field.sub 3 --workdir DIR`.

A preset is a function that returns a config: a frozen dataclass that may hold others, each field settable by
its dotted name. tyro reads the values and is imported only when there are any, so that a machine without it
still runs every preset as it stands.
"""

import argparse
import contextlib
import dataclasses
import difflib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

import jax

from recycle_jax.io.paths import as_path, home_expanded

Config = TypeVar("Config")


class Run(NamedTuple, Generic[Config]):
    """What a command line asks for."""

    config: Config
    workdir: Path
    preset: str


class Terminated(KeyboardInterrupt):
    """SIGTERM outside of training, which saves its own state."""

    exit_status = 128 + signal.SIGTERM


def launch(
    main: Callable[[Config, Path, str], Any],
    presets: Mapping[str, Callable[[], Config]],
    argv: Sequence[str] | None = None,
    **options: Any,
) -> None:
    """Runs an experiment as a command: reads the command line, calls `main`, says where what it made lies.

    Exits with 130 after Ctrl-C and with 143 after SIGTERM, the message that says how to go on being the last line.

    Args:
        main: of the experiment: config, work directory, name of the preset.
        presets, argv: as in `parse`.
        options: the other arguments of `parse`.
    """
    run = parse(presets, argv, **options)
    with _sigterm_raises():
        try:
            main(run.config, run.workdir, run.preset)
        except KeyboardInterrupt as error:
            print(str(error) or "stopped by Ctrl-C: run the same command again to go on", file=sys.stderr, flush=True)
            raise SystemExit(getattr(error, "exit_status", 128 + signal.SIGINT)) from None
    if jax.process_index() == 0:
        for line in made_in(run.workdir):
            print(line, file=sys.stderr)


def made_in(workdir: str | os.PathLike[str]) -> list[str]:
    """Returns a line for the report, the videos, the parameters and the results that lie in a work directory."""
    root = home_expanded(workdir)
    places = {
        "report": root / "report.html",
        "parameters": root / "trained",
        "checkpoints": root / "checkpoints",
        "results": root / "results.json",
    }
    lines = [f"{kind + ':':<12} {path}" for kind, path in places.items() if path.exists()]
    videos = sorted(root.glob("*.mp4"))
    more = f" and {len(videos) - 3} more there" if len(videos) > 3 else ""
    return lines + [f"{'videos:':<12} {', '.join(map(str, videos[:3]))}{more}"] * bool(videos)


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM as an exception clears temporary files and locks; the first process of a container would ignore it."""

    def stop(number: int, frame: Any) -> NoReturn:
        raise Terminated("stopped by SIGTERM: run the same command again to go on")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def parse(
    presets: Mapping[str, Callable[[], Config]],
    argv: Sequence[str] | None = None,
    *,
    name: str | None = None,
    default: str = "small",
    shorthands: Mapping[str, str] = MappingProxyType({}),
) -> Run[Config]:
    """Reads a command line; says what is wrong with it, offers the nearest names, and exits with 2.

    Args:
        presets: the configs on offer, made only when asked for.
        argv: the arguments, `sys.argv[1:]` by default; `--workdir` takes a local directory or `gs://BUCKET/…`.
        name: of the experiment, by default the running module's; the default work directory is `runs/NAME`.
        default: the preset when none is named; the first on offer where there is no such preset.
        shorthands: an argument -> the field that it stands for, both without their dashes.
    """
    name = name or Path(sys.argv[0]).stem
    default = default if default in presets else next(iter(presets))
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        usage=f"%(prog)s [--preset {{{','.join(presets)}}}] [--workdir DIR] [--field.sub VALUE ...]",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("--preset", default=default)
    parser.add_argument("--workdir", type=_workdir, default=Path("runs") / name)
    known, rest = parser.parse_known_args(argv)
    rest = [_written_out(argument, shorthands) for argument in rest]
    if known.preset not in presets:
        parser.error(_unknown("preset", known.preset, presets))
    config = presets[known.preset]()
    _check_fields(config, rest, parser.error)
    config = _override(config, rest, parser) if rest else config
    join_processes()
    return Run(config, known.workdir, known.preset)


def join_processes(environ: Mapping[str, str] = os.environ) -> None:
    """Joins the other hosts of a pod or cluster where RECYCLE_JAX_MULTIHOST=1; comes before any array."""
    if environ.get("RECYCLE_JAX_MULTIHOST") == "1":
        jax.distributed.initialize()


def written_out(name: str, preset: str, default: Any, given: Any) -> str:
    """Returns the command line of a run: its preset and every field that differs from it.

    Args:
        name: of the module under `experiments`.
        preset: its name.
        default: the preset's config.
        given: the config of the run, of the same type.
    """
    changed = [f"--{field} {_words(value)}".rstrip() for field, value in _changed(default, given)]
    return " ".join([f"python -m experiments.{name} --preset {preset}", *changed])


def _changed(default: Any, given: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields dotted name and value of every field that is not what it was."""
    for field in _settable(default):
        old, new = getattr(default, field.name), getattr(given, field.name)
        if dataclasses.is_dataclass(old) and type(old) is type(new):
            yield from _changed(old, new, f"{prefix}{field.name}.")
        elif old != new:
            yield (prefix + field.name).replace("_", "-"), new


def _words(value: Any) -> str:
    """A value as a shell takes it; several stand side by side."""
    values = value if isinstance(value, (tuple, list)) else [value]
    return " ".join(shlex.quote(str(each)) for each in values)


def field_names(config: Any, prefix: str = "") -> Iterator[str]:
    """Yields the dotted name of every field of a dataclass and of those that it holds."""
    for field in _settable(config):
        value = getattr(config, field.name)
        yield prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from field_names(value, f"{prefix}{field.name}.")


def _workdir(text: str) -> Path:
    try:
        return as_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _check_fields(config: Any, rest: Sequence[str], fail: Callable[[str], NoReturn]) -> None:
    names = [*field_names(config), "preset", "workdir", "help"]
    for argument in rest:
        if argument.startswith("--"):
            given = argument[2:].partition("=")[0].replace("-", "_")
            if given not in names:
                fail(_unknown("field", given, names))


def _written_out(argument: str, shorthands: Mapping[str, str]) -> str:
    name, equals, value = argument.removeprefix("--").partition("=")
    return f"--{shorthands[name]}{equals}{value}" if argument.startswith("--") and name in shorthands else argument


def _unknown(kind: str, given: str, names: Iterable[str]) -> str:
    names = sorted(names)
    leaves = {name.rpartition(".")[2]: name for name in names}
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    near += [leaves[leaf] for leaf in difflib.get_close_matches(given.rpartition(".")[2], leaves, n=3)]
    offer = f"nearest: {', '.join(dict.fromkeys(near))}" if near else f"there are: {', '.join(names)}"
    return f"unknown {kind} {given!r}; {offer}"


def _override(config: Config, rest: Sequence[str], parser: argparse.ArgumentParser) -> Config:
    try:
        import tyro
    except ImportError:
        parser.error(f"{rest[0]} needs tyro: `pip install tyro`, or pass only --preset and --workdir")
    if not {"-h", "--help"}.isdisjoint(rest):
        parser.print_usage()
    conf = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)
    view = _narrowed(config)
    return _widened(config, tyro.cli(type(view), default=view, args=rest, prog=parser.prog, config=conf))


def _narrowed(config: Any) -> Any:
    """A copy of a config whose fields are annotated with what they hold: a protocol has no fields to set."""
    held = {field.name: getattr(config, field.name) for field in _settable(config)}
    views = {name: _narrowed(value) for name, value in held.items() if dataclasses.is_dataclass(value)}
    types = [(name, type(view)) for name, view in views.items()]
    cls = type(config)
    frozen = cls.__dataclass_params__.frozen
    kind = dataclasses.make_dataclass(cls.__name__, types, bases=(cls,), frozen=frozen, kw_only=True)
    return kind(**held | views)


def _widened(config: Any, view: Any) -> Any:
    """The values of a narrowed copy in the types of the original."""
    pairs = {f.name: (getattr(config, f.name), getattr(view, f.name)) for f in _settable(config)}
    values = {name: _widened(old, new) if dataclasses.is_dataclass(old) else new for name, (old, new) in pairs.items()}
    return dataclasses.replace(config, **values)


def _settable(config: Any) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(config) if field.init]
