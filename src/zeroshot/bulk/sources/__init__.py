"""Find images and read them: a module per kind of source.

`opening` turns what a user gives into sources, by the table SOURCES.
"""

from zeroshot.bulk.sources.listing import Listing
from zeroshot.bulk.sources.opening import SOURCES, open_sources

__all__ = ["SOURCES", "Listing", "open_sources"]
