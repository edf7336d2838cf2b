"""The arrows between rooms, read from the source of every module, and the size of every file."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import recycle_jax

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "recycle_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))

BASE = {"extras", "typing", "batch", "rng", "sharding", "flow_matching"}
MAY_IMPORT = {
    "extras": set(),
    "typing": set(),
    "batch": {"typing"},
    "rng": {"typing"},
    "sharding": {"typing"},
    "flow_matching": {"typing"},
    "models": BASE,
    "generators": BASE | {"models"},
    "rollout": BASE | {"generators", "data"},
    "errors": BASE | {"generators", "rollout", "data"},
    "histories": BASE | {"generators", "rollout", "errors", "data"},
    "training": BASE | {"generators", "rollout", "errors", "histories", "data", "drift", "io"},
    "io": BASE,
    "data": BASE | {"io"},
    "drift": BASE | {"generators", "rollout", "data", "io"},
    "report": BASE | {"data", "drift", "io"},
    "api": BASE
    | {"models", "generators", "rollout", "errors", "histories", "training", "data", "drift", "report", "io"},
    "cli": {"io"},
    "testing": BASE | {"models", "generators", "rollout", "errors", "histories", "training", "data", "drift", "io"},
}
"""Which rooms a room may import, besides itself. A new room gets a line here, below all that it imports."""

ONLY_IN = {
    "av": {"io", "data"},
    "jinja2": {"report"},
    "matplotlib": {"report", "io"},
    "tensorflow_datasets": {"data"},
    "tyro": {"cli"},
}
"""Heavy packages stay at the edges."""

IMPORT_NAMES = {"orbax-checkpoint": "orbax", "pillow": "PIL", "scikit-learn": "sklearn"}

NOT_IMPORTED = {"cuda", "tpu", "comparison", "digits", "docs", "test"}
"""Extras that the package itself never imports: back ends, tools, and what only experiments use."""

USED_BY_OTHERS = {
    "array_record": "tensorflow_datasets reads data sets of this format with it",
    "grain": "reads the data sources of tensorflow_datasets in several processes",
}
"""Declared, and imported by another package or by the user's own program."""


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
    chain = ["flow_matching", "models", "generators", "errors", "histories", "training"]
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


def distributions(lines: list[str]) -> set[str]:
    """Import names of what requirement lines name, without the extras of this project that they refer to."""
    names = {re.split(r"[^A-Za-z0-9_-]", line)[0] for line in lines} - {"recycle_jax"}
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {name: distributions(lines) for name, lines in PROJECT["optional-dependencies"].items()}


def declared() -> set[str]:
    extras = (names for extra, names in EXTRAS.items() if extra not in NOT_IMPORTED)
    return distributions(PROJECT["dependencies"]).union(*extras)


def required(path: Path) -> Iterator[tuple[str, str]]:
    """Yields module and extra of every `require("module", extra="extra")` of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
            values = [*node.args, *[keyword.value for keyword in node.keywords]]
            match [value.value for value in values if isinstance(value, ast.Constant)]:
                case [module, extra]:
                    yield module, extra


def imported_from_elsewhere() -> set[str]:
    tops = {target.split(".")[0] for path in MODULES for target in imports(path)}
    tops |= {module.split(".")[0] for path in MODULES for module, _ in required(path)}
    return tops - set(sys.stdlib_module_names) - {"recycle_jax"}


def test_what_is_imported_is_declared() -> None:
    surplus = imported_from_elsewhere() - declared()
    assert not surplus, f"{sorted(surplus)}: imported by the package, not among its dependencies"


def test_what_is_declared_is_imported() -> None:
    surplus = declared() - imported_from_elsewhere() - set(USED_BY_OTHERS)
    assert not surplus, f"{sorted(surplus)}: a dependency that the package never imports; use it or drop it"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_messages_name_an_extra_that_has_the_package(path: Path) -> None:
    for module, extra in required(path):
        assert extra in EXTRAS, f"{dotted(path)} names the extra {extra!r}; there are {sorted(EXTRAS)}"
        assert module.split(".")[0] in EXTRAS[extra], (
            f"{module} is not in the extra {extra!r}, which {dotted(path)} names"
        )


WITHOUT_EXTRAS = """
import importlib, importlib.abc, json, sys
modules, blocked = json.loads(sys.argv[1])

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import recycle_jax
loaded = sorted(sys.modules)
failed = {}
for module in modules:
    try:
        importlib.import_module(module)
    except ImportError as error:
        failed[module] = str(error)
json.dump([loaded, failed], sys.stdout)
"""


def test_the_package_works_with_its_core_dependencies_alone() -> None:
    core = distributions(PROJECT["dependencies"])
    # scipy comes with jax, whatever is asked for.
    blocked = set.union(*EXTRAS.values()) - core - {"scipy", "jax"}
    argument = json.dumps([sorted(NAMES), sorted(blocked)])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, argument], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.returncode == 0, done.stderr
    loaded, failed = json.loads(done.stdout)
    slow = {"tensorflow_datasets", "tyro", "scipy.stats"} & set(loaded)
    assert not slow, f"{sorted(slow)}: import these where they are used; they make `import recycle_jax` slow"
    for module, message in failed.items():
        told = 'pip install "recycle_jax[' in message
        assert told, f"{module} does not import without extras, and does not say how to get them: {message}"


def test_typed_and_versioned() -> None:
    assert (PACKAGE / "py.typed").exists(), "type checkers ignore the annotations of a package without py.typed"
    assert recycle_jax.__version__ == PROJECT["version"], "reinstall the package: pip install -e ."


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
