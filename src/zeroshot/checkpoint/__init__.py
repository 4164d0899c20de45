"""Files of any known layout become a network and its configuration, without executing anything.

Reading order: `archive` (torch.save files and TorchScript archives) and `safetensors_file` give
named tensors; `layouts` renames them to this package's names; `config` says which network they
are, from the files beside them or from their shapes; `read` ties these together; `native` is this
package's own single-file layout.
"""
