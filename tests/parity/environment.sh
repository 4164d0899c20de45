#!/usr/bin/env bash
# Run a script (default: compare.py) in an environment with the reference packages. Creates or updates
# the environment first. It needs several GB, because PyPI provides CUDA builds of torch.
#
#   tests/parity/environment.sh                                   # same as `make parity`
#   tests/parity/environment.sh tests/parity/make_fixtures.py     # regenerate the golden files
#
#   PARITY_VENV  path of the environment   (default: .parity-venv in the checkout; git-ignored)
#   PYTHON       interpreter to create it  (default: python3)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${PARITY_VENV:-$root/.parity-venv}
python=$venv/bin/python

[[ -x $python ]] || "${PYTHON:-python3}" -m venv "$venv"
if ! cmp -s "$here/requirements.txt" "$venv/.peers"; then
    "$python" -m pip install --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/.peers"
fi
if ! cmp -s "$root/pyproject.toml" "$venv/.project"; then
    "$python" -m pip install --editable "$root"
    cp "$root/pyproject.toml" "$venv/.project"
fi
if (($# == 0)); then
    set -- "$here/compare.py"
fi
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}  # tests.tokenizers trains vocabularies
exec "$python" "$@"
