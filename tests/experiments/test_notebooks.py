"""The notebooks: the same as their text twins, and run from the first cell to the last at the smallest sizes."""

from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "experiments" / "notebooks"
SMALL = {
    "quickstart": "updates = recycling_updates = 2; batch_size = 8; frames = 16; rollouts = 8",
    "own_generator": "updates = recycling_updates = 2; batch_size = 8; width = 8; frames = 4",
}


def test_every_notebook_has_a_twin_and_sizes() -> None:
    for suffix in ("ipynb", "py"):
        assert {path.stem for path in NOTEBOOKS.glob(f"*.{suffix}")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_twins_agree(name: str) -> None:
    notebook, text = (jupytext.read(NOTEBOOKS / f"{name}.{suffix}") for suffix in ("ipynb", "py"))
    cells, others = ([(cell.cell_type, cell.source) for cell in book.cells] for book in (notebook, text))
    assert cells == others, f"make one of the other: jupytext --sync experiments/notebooks/{name}.py"
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not committed: clear them"


@pytest.mark.notebook
@pytest.mark.parametrize("name", SMALL)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    (place,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(SMALL[name]))
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "my_generator" / "generator.json").exists()
