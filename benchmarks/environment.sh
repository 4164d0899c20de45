#!/usr/bin/env bash
# Run a script (default: run.py) in an environment with the libraries that zeroshot is compared with.
# Creates or updates the environment first. It needs several GB, because PyPI provides CUDA builds.
#
#   benchmarks/environment.sh                                  # same as `make bench`
#   benchmarks/environment.sh benchmarks/images.py --only T4   # one group, one target
#
#   BENCH_VENV  path of the environment   (default: .bench-venv in the checkout; git-ignored)
#   PYTHON      interpreter to create it  (default: python3)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
venv=${BENCH_VENV:-$root/.bench-venv}
python=$venv/bin/python

[[ -x $python ]] || "${PYTHON:-python3}" -m venv "$venv"
if ! cmp -s "$here/requirements.txt" "$venv/.peers"; then
    "$python" -m pip install --requirement "$here/requirements.txt"
    # Disable telemetry; OpenVINO runs without it
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
