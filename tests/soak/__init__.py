"""Runs of `zeroshot.label` that are killed, or whose disk is full or fails."""
