"""The built wheel, used in an environment that has its dependencies and nothing of this folder."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel

ROOT = Path(__file__).parent.parent

TEN_LINES = """
import importlib.util, json
import jax, numpy as np
import recycle_jax as rj

clips = [np.full((8, 8, 8, 1), shade, np.float32) for shade in (-0.5, 0.0, 0.5, 1.0)]
network = rj.models.frame_unet(shape=(8, 8, 1), context_frames=2, chunk_frames=1, width=8, levels=1)
generator = rj.Predictor(network=network, context_frames=2)
params = rj.train(generator, clips, updates=1, batch_size=4)
rj.save(generator, params, "saved")
generator, params = rj.load("saved")
video = rj.rollout(generator, params, np.stack(clips)[:, :2], frames=3)
print(json.dumps([video.shape, rj.__version__, rj.__file__, importlib.util.find_spec("experiments") is None]))
"""


def run(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=cwd, env=environment, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0].split("-")[0] for name in names}
    assert tops == {"recycle_jax"}, f"the wheel installs {sorted(tops)}"
    files = (path for path in (ROOT / "recycle_jax").rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    wanted = {path.relative_to(ROOT).as_posix() for path in files}
    assert wanted <= set(names), f"left out: {sorted(wanted - set(names))[:5]}"


def test_the_wheel_works_where_nothing_else_of_this_project_is(wheel: Path, tmp_path: Path) -> None:
    home, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=empty).strip())
    # The dependencies of this environment; its own .pth files, among them that of an editable install, are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ("-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    run(sys.executable, *install, cwd=empty)
    shape, version, file, alone = json.loads(run(python, "-c", TEN_LINES, cwd=empty).splitlines()[-1])
    assert shape == [4, 3, 8, 8, 1]
    assert version == wheel.name.split("-")[1]
    assert Path(file).is_relative_to(home), f"the package that was imported is {file}"
    assert alone, "experiments is importable where only the wheel is installed"
