"""The request forms of other programs, one module each."""
