"""The towers rewritten for CPUs, and the worker threads they run on.

`backend` runs them; `towers` is the table of rewrites: `vision`, `text`, `resnet` and `conse`,
made of `blocks`, `linear`, `convolution` and `attention`. `prefix_trees` arranges texts, `workers`
runs one thread per core. A test compares every rewrite with its plain tower in `zeroshot.nn`.
"""
