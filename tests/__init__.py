"""Tests of zeroshot."""

import os

# Threads of OpenMP otherwise spin while they wait, and take the cores from the other test process:
# with two processes on two cores, tests of the engine took 2.6 times as long. Torch reads it when
# it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
