"""Check and benchmark an installation.

`doctor` checks it, `selfcheck` runs every stage on stored inputs, `bench` measures the speed.
"""
