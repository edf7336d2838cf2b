"""The launch scripts: the exact commands of a dry run, and errors that name the remedy."""

import subprocess
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parent.parent / "tpu_launch"
WHERE = ["--tpu", "pod", "--zone", "us-central2-b"]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(LAUNCH / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def dry(script: str, *arguments: str) -> list[str]:
    done = run(script, "--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("script", sorted(LAUNCH.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_valid_strict_and_executable(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert "\nset -euo pipefail\n" in script.read_text()
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize("script", ["run_pod.sh", "setup_worker.sh"])
def test_help(script: str) -> None:
    done = run(script, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {script}")


def test_setup_of_a_worker() -> None:
    assert dry("setup_worker.sh", "--python", "python3.12") == [
        "python3.12 -m venv .venv",
        r".venv/bin/pip install --quiet -c constraints.txt -e .\[tpu\]",
    ]


def test_run_on_all_workers() -> None:
    module = ["experiments.quickstart", "--preset", "pod", "--note", "two words"]
    folder, archive, copy, unpack, setup, start = dry("run_pod.sh", *WHERE, "--project", "p", "--", *module)
    everywhere = "--zone=us-central2-b --project=p --worker=all"
    packed = "runs/recycle_jax.tar.gz"
    assert [folder, archive] == ["mkdir -p runs", f"git archive --format=tar.gz --output={packed} HEAD"]
    assert copy == f"gcloud compute tpus tpu-vm scp {packed} pod:recycle_jax.tar.gz {everywhere}"
    for command in (unpack, setup, start):
        assert command.startswith(f"gcloud compute tpus tpu-vm ssh pod {everywhere} --command=")
    assert remote(unpack) == "mkdir -p recycle_jax && tar -xzf recycle_jax.tar.gz -C recycle_jax"
    assert remote(setup) == "bash recycle_jax/tpu_launch/setup_worker.sh --python python3"
    assert remote(start) == (
        "cd recycle_jax && RECYCLE_JAX_MULTIHOST=1 .venv/bin/python -m "
        r"experiments.quickstart --preset pod --note two\ words"
    ), "an argument must reach the workers as one word"


def remote(command: str) -> str:
    """What the workers' shell is given, with the quoting for the local shell undone."""
    echoed = subprocess.run(["bash", "-c", f'set -- {command}; printf %s "${{!#}}"'], capture_output=True, text=True)
    return echoed.stdout.removeprefix("--command=")


def test_what_is_on_the_workers_can_be_run_as_it_is() -> None:
    commands = dry("run_pod.sh", *WHERE, "--no-ship", "--dir", "work/here", "--", "experiments.bench")
    assert len(commands) == 2
    assert remote(commands[1]).startswith("cd work/here && ")
    assert "--project" not in commands[1]


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("run_pod.sh", ["--zone", "z", "--", "experiments.x"], "no TPU named; pass --tpu NAME"),
        ("run_pod.sh", ["--tpu", "t", "--", "experiments.x"], "no zone named; pass --zone ZONE"),
        ("run_pod.sh", WHERE, "no module named; end with: -- experiments.NAME"),
        ("run_pod.sh", [*WHERE, "--", "a/b.py"], "'a/b.py' is not a module's name; write it as"),
        ("run_pod.sh", [*WHERE, "experiments.x"], "unknown argument 'experiments.x'; the module"),
        ("run_pod.sh", ["--tpu"], "--tpu needs a value"),
        ("run_pod.sh", [*WHERE, "--dir", "a;b", "--", "x"], "--dir 'a;b' may hold letters"),
        ("setup_worker.sh", ["--extra", "gpu"], "unknown extra 'gpu'; there are: tpu, cuda, test"),
        ("setup_worker.sh", ["--pyhton", "x"], "unknown argument '--pyhton'; see --help"),
        ("setup_worker.sh", ["--python", "/no/such/python"], "name another with --python"),
    ],
)
def test_bad_input(script: str, arguments: list[str], message: str) -> None:
    done = run(script, *arguments)
    assert done.returncode == 2, "bad input must stop the script before it does anything"
    assert message in done.stderr
