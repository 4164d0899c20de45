"""Tests of `zeroshot.checkpoint`: good files in every layout, and hostile ones."""
