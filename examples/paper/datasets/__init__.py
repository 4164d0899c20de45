"""Readers of the paper's data sets, one module for each kind of published layout."""
