#!/usr/bin/env bash
# Makes the environment of one TPU worker: .venv at the root of the checkout, the package with its tpu extra.
# Idempotent: does nothing while pyproject.toml, constraints.txt and the options are those of the last run.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: setup_worker.sh [--python PYTHON] [--extra EXTRA] [--dry-run]
  --python   an interpreter of 3.11 or later (default: python3)
  --extra    the extra of the package to install: tpu, cuda or test (default: tpu)
  --dry-run  print the commands, run none
USAGE
}

fail() {
  echo "setup_worker.sh: $1" >&2
  exit 2
}

python=python3
extra=tpu
dry_run=
while (($#)); do
  case $1 in
    --python | --extra)
      (($# > 1)) || fail "$1 needs a value; see --help"
      declare "${1#--}=$2"
      shift 2
      ;;
    --dry-run) dry_run=1 && shift ;;
    -h | --help) usage && exit ;;
    *) fail "unknown argument '$1'; see --help" ;;
  esac
done
[[ $extra =~ ^(tpu|cuda|test)$ ]] || fail "unknown extra '$extra'; there are: tpu, cuda, test"

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

cd "$(dirname "${BASH_SOURCE[0]}")/.."
stamp=.venv/recycle_jax.setup
state=$(cat pyproject.toml constraints.txt <(echo "$python $extra") | sha256sum)
if [[ -z $dry_run && -f $stamp && $(<"$stamp") == "$state" ]]; then
  echo "$(hostname): the environment is up to date"
  exit
fi
if [[ -z $dry_run ]] && ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  fail "'$python' is missing or older than Python 3.11; name another with --python"
fi
run "$python" -m venv .venv
run .venv/bin/pip install --quiet -c constraints.txt -e ".[$extra]"
if [[ -z $dry_run ]]; then
  echo "$state" >"$stamp"
  echo "$(hostname): the environment is ready"
fi
