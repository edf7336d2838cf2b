#!/usr/bin/env bash
# Runs one module on every worker of an existing Cloud TPU slice: ships the last commit, sets the workers up, runs.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: run_pod.sh --tpu NAME --zone ZONE [options] -- MODULE [ARGUMENT ...]
  --tpu      name of the TPU VM or slice
  --zone     its zone, such as us-central2-b
  --project  its project (default: that of the gcloud configuration)
  --dir      folder of the checkout on the workers, below the home folder (default: recycle_jax)
  --python   interpreter on the workers, 3.11 or later (default: python3)
  --no-ship  run what is already on the workers
  --dry-run  print the exact commands, run none
example: run_pod.sh --tpu pod --zone us-central2-b -- experiments.quickstart --preset pod --workdir gs://bucket/run
USAGE
}

fail() {
  echo "run_pod.sh: $1" >&2
  exit 2
}

tpu= zone= project= dir=recycle_jax python=python3 ship=1 dry_run=
while (($#)); do
  case $1 in
    --tpu | --zone | --project | --dir | --python)
      (($# > 1)) || fail "$1 needs a value; see --help"
      declare "${1#--}=$2"
      shift 2
      ;;
    --no-ship) ship= && shift ;;
    --dry-run) dry_run=1 && shift ;;
    -h | --help) usage && exit ;;
    --) shift && break ;;
    *) fail "unknown argument '$1'; the module and its arguments come after --, see --help" ;;
  esac
done
[[ $tpu ]] || fail "no TPU named; pass --tpu NAME (gcloud compute tpus tpu-vm list shows them)"
[[ $zone ]] || fail "no zone named; pass --zone ZONE (gcloud compute tpus locations list shows them)"
(($#)) || fail "no module named; end with: -- experiments.NAME --preset pod"
[[ $1 =~ ^[A-Za-z_][A-Za-z0-9_.]*$ ]] || fail "'$1' is not a module's name; write it as experiments.NAME"
[[ $dir =~ ^[A-Za-z0-9_./-]+$ ]] || fail "--dir '$dir' may hold letters, digits and _ . / - only"

quoted() {
  local words
  words=$(printf '%q ' "$@")
  echo "${words% }"
}

run() {
  if [[ $dry_run ]]; then
    quoted "$@"
  else
    "$@"
  fi
}

if [[ -z $dry_run ]] && ! command -v gcloud >/dev/null; then
  fail "gcloud is not on PATH; install the Google Cloud CLI, or look at the commands with --dry-run"
fi
where=(--zone="$zone" ${project:+--project="$project"} --worker=all)
on_all_workers() {
  run gcloud compute tpus tpu-vm ssh "$tpu" "${where[@]}" --command="$1"
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ $ship ]]; then
  if [[ -z $dry_run && -n $(git status --porcelain) ]]; then
    echo "run_pod.sh: uncommitted changes stay here; the last commit is shipped" >&2
  fi
  run mkdir -p runs
  run git archive --format=tar.gz --output=runs/recycle_jax.tar.gz HEAD
  run gcloud compute tpus tpu-vm scp runs/recycle_jax.tar.gz "$tpu:recycle_jax.tar.gz" "${where[@]}"
  on_all_workers "mkdir -p $dir && tar -xzf recycle_jax.tar.gz -C $dir"
fi
on_all_workers "bash $dir/tpu_launch/setup_worker.sh --python $(quoted "$python")"
on_all_workers "cd $dir && RECYCLE_JAX_MULTIHOST=1 .venv/bin/python -m $(quoted "$@")"
