"""Run towers that are rewritten for CPUs, on worker threads.

`backend` runs them. `towers` is the table of rewritten towers: `vision`, `text`, `resnet` and
`conse`, built from `blocks`, `linear`, `convolution` and `attention`. `prefix_trees` arranges
texts, `workers` runs one thread per core. A test compares each tower with its plain version in
`zeroshot.nn`.
"""
