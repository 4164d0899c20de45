"""Measure a classifier on images with known labels, and report the figures with intervals."""
