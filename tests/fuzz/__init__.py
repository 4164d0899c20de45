"""Randomly corrupted files are read, or rejected with a zeroshot error."""
