"""Label collections of images: every image becomes one row of a table.

`job` labels; `sources` find images, `sinks` write parts of the table, and `output` reads a folder
that was written. The other modules use such a folder.
"""
