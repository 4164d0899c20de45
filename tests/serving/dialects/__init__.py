"""Tests of the request forms."""
