"""The arrows between rooms, read from the source of every module, and the size of every file."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "recycle_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))

BASE = {"typing", "sharding", "flow_matching"}
MAY_IMPORT = {
    "typing": set(),
    "sharding": {"typing"},
    "flow_matching": {"typing", "sharding"},
    "models": BASE,
    "generators": BASE | {"models", "data"},
    "rollout": BASE | {"generators", "data"},
    "errors": BASE | {"generators", "rollout", "data"},
    "policies": BASE | {"generators", "rollout", "errors", "data"},
    "training": BASE | {"generators", "rollout", "errors", "policies", "data", "drift", "io"},
    "io": BASE,
    "data": BASE | {"io"},
    "drift": BASE | {"generators", "rollout", "data", "io"},
    "report": BASE | {"data", "drift", "io"},
    "cli": {"io"},
    "testing": BASE | {"models", "generators", "rollout", "errors", "policies", "training", "data", "drift", "io"},
}
"""Which rooms a room may import, besides itself. A new room gets a line here, below all that it imports."""

ONLY_IN = {
    "av": {"io", "data"},
    "jinja2": {"report"},
    "matplotlib": {"report", "io"},
    "sklearn": {"data"},
    "tensorflow_datasets": {"data"},
    "tyro": {"cli"},
}
"""Heavy packages stay at the edges."""

IMPORT_NAMES = {"orbax-checkpoint": "orbax", "pillow": "PIL", "scikit-learn": "sklearn"}

NOT_IMPORTED = {"cuda", "tpu", "test", "judge"}
"""Extras that the package itself never imports: back ends, tools, and what only experiments use."""


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path): path for path in MODULES}


def room(module: str) -> str:
    """The part of a module's name that the table speaks of; the façade is the room ''."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> Iterator[str]:
    """Yields the full name of every module that a file imports, also inside functions and for types only."""
    package = dotted(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                member = f"{source}.{alias.name}"
                yield member if member in NAMES else source


def internal(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] == "recycle_jax"}


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_point_downwards(path: Path) -> None:
    here = room(dotted(path))
    if here == "":
        return  # the façade shows all rooms
    assert here in MAY_IMPORT, f"{here} is a new room: add it to MAY_IMPORT, with what it may import"
    for target in internal(path):
        there = room(target)
        assert there, f"{dotted(path)} imports the façade; import from the room that holds the name"
        allowed = MAY_IMPORT[here] | {here}
        assert there in allowed, f"{dotted(path)} imports {target}, but {here} may import only {sorted(allowed)}"


def test_the_table_itself_points_downwards() -> None:
    order = list(TopologicalSorter(MAY_IMPORT).static_order())
    chain = ["flow_matching", "models", "generators", "errors", "policies", "training"]
    assert sorted(chain, key=order.index) == chain
    assert "errors" not in MAY_IMPORT["models"]
    assert "models" not in MAY_IMPORT["errors"]


def test_errors_know_no_particular_network() -> None:
    for name, path in NAMES.items():
        if room(name) == "errors":
            known = {target for target in internal(path) if room(target) == "generators"}
            assert known <= {"recycle_jax.generators", "recycle_jax.generators.base"}, f"{name} imports {known}"


def test_no_cycles() -> None:
    graph = {name: internal(path) - {name} for name, path in NAMES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_the_package_stands_alone_and_heavy_packages_stay_at_the_edges(path: Path) -> None:
    for target in imports(path):
        top = target.split(".")[0]
        assert top not in {"experiments", "tests"}, f"{dotted(path)} imports {target}, which lies above it"
        rooms = ONLY_IN.get(top)
        here = room(dotted(path))
        assert rooms is None or here in rooms, f"{dotted(path)} imports {top}, which belongs to {rooms}"


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name not in NOT_IMPORTED}
    names = (re.split(r"[^A-Za-z0-9_-]", line)[0] for line in sum(extras.values(), project["dependencies"]))
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


def imported_from_elsewhere() -> set[str]:
    tops = {target.split(".")[0] for path in MODULES for target in imports(path)}
    return tops - set(sys.stdlib_module_names) - {"recycle_jax"}


def test_what_is_imported_is_declared() -> None:
    surplus = imported_from_elsewhere() - declared()
    assert not surplus, f"{sorted(surplus)}: imported by the package, not among its dependencies"


def test_what_is_declared_is_imported() -> None:
    surplus = declared() - imported_from_elsewhere()
    assert not surplus, f"{sorted(surplus)}: a dependency that the package never imports; use it or drop it"


def test_files_are_short() -> None:
    folders = [PACKAGE, ROOT / "experiments", ROOT / "tests", ROOT / "tpu_launch"]
    files = [path for folder in folders for suffix in ("py", "sh") for path in folder.rglob(f"*.{suffix}")]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    long = {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > 500}
    assert not long, f"over 500 lines: {long}; one concept a file"


def test_one_path_for_any_number_of_devices() -> None:
    old = "pm" + "ap"
    files = [*MODULES, *(ROOT / "experiments").rglob("*.py")]
    found = [dotted(path) for path in files if old in path.read_text(encoding="utf-8")]
    assert not found, f"{old} in {found}: use jax.shard_map over a mesh"
