"""A hook of mkdocs: entries of the menu that end in a slash become the pages of that folder, its index first."""

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Expands the menu before mkdocs reads it."""
    config.nav = [entry for entry in (_expanded(entry, Path(config.docs_dir)) for entry in config.nav) if entry]
    return config


def _expanded(entry: dict[str, Any], docs: Path) -> dict[str, Any] | None:
    """The entry of one menu line; None where its folder or page is missing."""
    ((title, target),) = entry.items()
    if not isinstance(target, str):
        return entry
    if not target.endswith("/"):
        return entry if (docs / target).exists() else None
    pages = sorted((docs / target).rglob("*.md"), key=lambda page: (page.name != "index.md", page))
    return {title: [page.relative_to(docs).as_posix() for page in pages]} if pages else None
