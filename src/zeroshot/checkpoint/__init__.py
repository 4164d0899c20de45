"""Files of any known layout become a network and its configuration, without executing anything.

Reading order: `zips` and `pickles` bound what a file can ask for; `archive` (torch.save files and
TorchScript archives) and `safetensors_file` lay named tensors over a `mapped` file; `files` finds
them, in one file or in shards; `layouts` renames them to this package's names; `config` says which
network they are, from the files beside them or from their shapes; `positions` fits them to another
picture size; `stored` hands values out a module at a time; `read` ties these together; `native` is
this package's own single-file layout.
"""
