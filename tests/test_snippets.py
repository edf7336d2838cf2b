"""Every Python snippet of the README and of docs/ runs, page by page, in the order of the page.

All snippets of a page share one namespace, in an empty folder. Comments in the page, invisible to its readers, make
them small enough for a test:

    <!-- test: 2000 -> 4, 3400 -> 4 -->           numbers, or words, that are replaced on the whole page
    <!-- test: setup                              code that runs first: what a reader has and the page does not make
    clips = ...
    -->
    <!-- test: skip, needs a TPU -->              the next snippet is only compiled; the reason is required

A fence with a title, ```python title="net.py", is written to that file, so that later snippets import it.
"""

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

PIECE = re.compile(
    r"^<!-- test: (?P<note>.*?)-->$|^(?P<indent> *)```python(?P<options>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclasses.dataclass
class Snippet:
    """Code of a page: where it begins, the file that it is written to, if any, and whether it only compiles."""

    line: int
    code: str
    file: str | None = None
    skipped: bool = False


def snippets(text: str) -> Iterator[Snippet]:
    """Yields the snippets of a page in order, hidden ones included, with its numbers made small."""
    sizes, skip = dict[str, str](), False
    for piece in PIECE.finditer(text):
        line = text.count("\n", 0, piece.start()) + 2
        if (note := piece["note"]) is not None:
            if note.startswith("setup\n"):
                yield Snippet(line, note.removeprefix("setup\n"))
            elif "->" in note:
                sizes |= dict(re.split(r"\s*->\s*", pair.strip()) for pair in re.split(r",(?=[^,]*->)", note))
            else:
                assert re.match(r"skip, \w", note), f"line {line}: unknown note {note!r}, or no reason to skip"
                skip = True
            continue
        title = re.search(r'title="([\w/]+\.py)"', piece["options"])
        code = re.sub(rf"^{piece['indent']}", "", piece["code"], flags=re.MULTILINE)
        for large, small in sizes.items():
            code = re.sub(rf"(?<![\w.]){re.escape(large)}" + r"(?![\w.])" * large[-1].isalnum(), small, code)
        yield Snippet(line, code, title[1] if title else None, skip)
        skip = False


def run(page: Path, snippet: Snippet, namespace: dict[str, Any]) -> None:
    # Blank lines in front, so that a traceback shows the line of the page.
    program = compile("\n" * (snippet.line - 1) + snippet.code, str(page), "exec")
    if snippet.file:
        Path(snippet.file).write_text(snippet.code)
    elif not snippet.skipped:
        exec(program, namespace)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if "```python" in page.read_text(encoding="utf-8")
    ],
)
def test_the_snippets_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = set(sys.modules)
    namespace: dict[str, Any] = {"__name__": f"snippets_of_{page.stem}"}
    try:
        for snippet in snippets(page.read_text(encoding="utf-8")):
            run(page, snippet, namespace)
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]


def test_notes_are_understood() -> None:
    page = """
<!-- test: 2000 -> 3, b -> c, d -->
<!-- test: a=1) -> a=1, e=2) -->
<!-- test: setup
a = 2000
-->
```python
b = 2000 + 20001 + (a=1).c
```
<!-- test: skip, there is no such machine -->
```python
raise SystemExit
```
"""
    first, second, third = snippets(page)
    assert first.code == "a = 2000\n", "set-up code is small as it stands"
    assert second.code == "c, d = 3 + 20001 + (a=1, e=2).c\n"
    assert not second.skipped
    assert third.skipped
    with pytest.raises(AssertionError, match="no reason"):
        list(snippets("<!-- test: skip -->"))
