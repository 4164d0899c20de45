"""Use zeroshot inside other programs: data pipelines and clusters."""
