"""Names that the pages use exist, and every page is in the menu."""

import dataclasses
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import recycle_jax

pytestmark = pytest.mark.fast

DOCS = Path(__file__).parent.parent / "docs"
GUIDES = [page for page in sorted(DOCS.glob("*.md")) if page.name != "renamed.md"]


def fields() -> dict[str, set[str]]:
    """Name of every public class of the package -> its fields and attributes."""
    found = dict[str, set[str]]()
    for module in pkgutil.walk_packages(recycle_jax.__path__, "recycle_jax."):
        if module.name.startswith("recycle_jax.report"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, type) and value.__module__.startswith("recycle_jax"):
                own = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
                found.setdefault(name, set()).update(own | set(dir(value)))
    return found


FIELDS = fields()


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_fields_and_calls_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name, field in re.findall(r"`([A-Z]\w+)\.(\w+)`", text):
        assert name in FIELDS, f"{page.name} names the class {name}"
        assert field in FIELDS[name], f"{page.name} names {name}.{field}"
    for path in re.findall(r"\brj((?:\.\w+)+)", text):
        value = recycle_jax
        for part in path.split(".")[1:]:
            assert hasattr(value, part), f"{page.name} names rj{path}"
            value = getattr(value, part)
    for path in re.findall(r"`recycle_jax\.([\w.]+)`", text):
        module, _, name = path.rpartition(".")
        try:
            importlib.import_module(f"recycle_jax.{path}")
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(f"recycle_jax.{module}"), name), f"{page.name} names {path}"


@pytest.mark.parametrize("page", sorted((DOCS / "api").glob("*.md")), ids=lambda page: page.name)
def test_what_the_api_pages_show_exists(page: Path) -> None:
    for path in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), f"{page.name} shows {path}"


def test_every_public_call_has_its_place_on_an_api_page() -> None:
    shown = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    spaces = [recycle_jax, *(getattr(recycle_jax, name) for name in recycle_jax.NAMESPACES)]
    public = {
        name
        for space in spaces
        for name, value in vars(space).items()
        if getattr(value, "__module__", "").startswith("recycle_jax") and name[0] != "_"
    }
    missing = {name for name in public if not re.search(rf"^::: \S+\.{name}$", shown, re.MULTILINE)}
    assert not missing, f"no page of docs/api shows {sorted(missing)}"


def test_the_settings_of_the_recipe_are_those_of_the_table() -> None:
    recycling = recycle_jax.histories.recycle().recycling
    rows = re.findall(r"^\| (`[^|]+) \| [^|]+ \| ([^|]+) \|$", (DOCS / "concepts.md").read_text(), re.MULTILINE)
    told = {name: value.strip() for name, value in rows if "`, `" not in name}
    assert len(told) >= 8, "the table of settings in concepts.md was not found"
    for name, value in told.items():
        assert str(getattr(recycling, name.strip("`"))) == value, f"concepts.md says {name} is {value}"
