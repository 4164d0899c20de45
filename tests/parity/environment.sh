#!/usr/bin/env bash
# Make, or bring up to date, the environment that `make parity` runs in; prints its python's path.
#   PARITY_VENV  where it lies  (default: .parity-venv in the checkout; git-ignored)
#   PYTHON       what makes it  (default: python3)
# Everything but the last line goes to stderr, so that a caller can write
#   python=$(tests/parity/environment.sh)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${PARITY_VENV:-$root/.parity-venv}
requirements=$root/tests/parity/requirements.txt
stamp=$venv/.parity-requirements

if [[ ! -x $venv/bin/python ]]; then
    "${PYTHON:-python3}" -m venv "$venv" >&2
fi
python=$venv/bin/python

if ! cmp -s "$requirements" "$stamp"; then
    "$python" -m pip install --requirement "$requirements" >&2
    cp "$requirements" "$stamp"
fi
# The project itself, editable: cheap when it is there already. The fixtures need only the peers,
# so they can be made before the project is installable.
if [[ -f $root/pyproject.toml ]] && ! "$python" -c 'import zeroshot' 2>/dev/null; then
    "$python" -m pip install --editable "$root" >&2
fi
echo "$python"
