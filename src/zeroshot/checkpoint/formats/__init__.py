"""Bytes become named tensors. This is the security boundary: nothing in a file is executed.

`zips` and `pickles` bound what a file can ask for; `torch_archive` (torch.save files and
TorchScript archives) and `safetensors_file` lay named tensors over a file that `mapping` maps into
memory; `files` finds them, in one file or in shards.
"""
