#!/usr/bin/env bash
# Run a script, compare.py if none is named, in an environment of the peers' own packages, which is
# made first or brought up to date: several GB, since PyPI serves CUDA builds of torch.
#
#   tests/parity/environment.sh                                   # what `make parity` does
#   tests/parity/environment.sh tests/parity/make_fixtures.py     # golden files anew
#
#   PARITY_VENV  where it lies  (default: .parity-venv in the checkout; git-ignored)
#   PYTHON       what makes it  (default: python3)
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
exec "$python" "$@"
