"""Formats of the table's parts."""
