#!/usr/bin/env bash
# Run a script, run.py if none is named, in an environment with the peers that zeroshot is timed
# against, which is made first or brought up to date: several GB, since PyPI serves CUDA builds.
#
#   benchmarks/environment.sh                                  # what `make bench` does
#   benchmarks/environment.sh benchmarks/images.py --only T4   # one group, one target
#
#   BENCH_VENV  where it lies  (default: .bench-venv in the checkout; git-ignored)
#   PYTHON      what makes it  (default: python3)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
venv=${BENCH_VENV:-$root/.bench-venv}
python=$venv/bin/python

[[ -x $python ]] || "${PYTHON:-python3}" -m venv "$venv"
if ! cmp -s "$here/requirements.txt" "$venv/.peers"; then
    "$python" -m pip install --requirement "$here/requirements.txt"
    # OpenVINO runs without it, and a benchmark has nothing to report to anybody
    "$python" -m pip uninstall --yes openvino-telemetry
    cp "$here/requirements.txt" "$venv/.peers"
fi
if ! cmp -s "$root/pyproject.toml" "$venv/.project"; then
    "$python" -m pip install --editable "$root"
    cp "$root/pyproject.toml" "$venv/.project"
fi
if (($# == 0)) || [[ $1 == --* ]]; then
    set -- "$here/run.py" "$@"
fi
exec "$python" "$@"
