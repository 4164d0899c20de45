"""Run networks on CUDA GPUs.

Everything but `runtime` also runs on a CPU as a simulated device, where the tests are. It was not
measured on a GPU.
"""
