"""Convert bytes to named tensors.

This is the security boundary: nothing in a file is executed. `zips` and `pickles` limit the
resources that a file can use. `torch_archive` (torch.save files and TorchScript archives) and
`safetensors_file` create named tensors as views of a file that `mapping` maps into memory. `files`
locates them, in one file or in shards.
"""
