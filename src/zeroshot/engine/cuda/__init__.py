"""Run networks on CUDA GPUs.

Everything but `runtime` also runs on a CPU as a simulated device, where the tests are. Figures are
in benchmarks/results-cuda.md.
"""
