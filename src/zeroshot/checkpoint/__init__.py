"""A path becomes weights that fit, and their spec, without executing code.

`reader` ties the parts together: `formats` turn bytes into named tensors, `layouts` turn those
into this package's names and a spec, with `config_fields` to read config files. `tensors` and
`weights` give out values when they are needed, and `positions` fits position embeddings to another
image size.
"""
