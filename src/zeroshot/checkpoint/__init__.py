"""Read a checkpoint as verified weights and their spec, without executing code.

`reader` combines the parts: `formats` convert bytes to named tensors; `layouts` convert those to
this package's names and a spec, using `config_fields` to read config files. `tensors` and `weights`
read values when they are needed. `positions` resamples position embeddings for another image size.
"""
