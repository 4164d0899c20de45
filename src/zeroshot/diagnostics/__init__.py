"""Is this installation correct, and how fast: `doctor` examines it, `selfcheck` runs every stage on
stored inputs, `bench` measures the machine.
"""
