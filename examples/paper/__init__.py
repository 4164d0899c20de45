"""The experiments of the CLIP paper, to run on your own copies of its data sets."""
