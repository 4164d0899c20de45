"""Tables of labeled images: every image becomes one row of a table in a folder.

`zeroshot.label` writes a table. These functions use it:

    read_status(folder)         Describe a table: rows, errors, missing parts, running processes.
    relabel(folder, out, labels)
                                Apply new labels without encoding the images again.
    find(folder, text)          Find the images that are most similar to a text or an image.
    merge(folder, file)         Join the parts to one Parquet, CSV or JSON Lines file.
    sort(folder, into)          Sort the images into one folder per label: plan_sort, then apply.
    undo_sort(into)                  Take back what was sorted.
    tag(folder)                 Write labels as keywords into XMP sidecars of the images.

In this package, `job` labels; `sources` find images, `sinks` write parts of the table, and `output`
reads a folder that was written.
"""

import typing as _typing

from zeroshot._lazy import loader as _loader

_MODULES = {
    "Match": "finding",
    "Plan": "sorting",
    "Sorted": "sorting",
    "Status": "status",
    "Summary": "summary",
    "Tagged": "tagging",
    "Undone": "sorting",
    "apply_sort": "sorting",
    "find": "finding",
    "merge": "merging",
    "plan_sort": "sorting",
    "read_status": "status",
    "relabel": "relabeling",
    "sort": "sorting",
    "tag": "tagging",
    "undo_sort": "sorting",
}

__all__ = [
    "Match",
    "Plan",
    "Sorted",
    "Status",
    "Summary",
    "Tagged",
    "Undone",
    "apply_sort",
    "find",
    "merge",
    "plan_sort",
    "read_status",
    "relabel",
    "sort",
    "tag",
    "undo_sort",
]

if _typing.TYPE_CHECKING:
    from zeroshot.bulk.finding import Match as Match
    from zeroshot.bulk.finding import find as find
    from zeroshot.bulk.merging import merge as merge
    from zeroshot.bulk.relabeling import relabel as relabel
    from zeroshot.bulk.sorting import Plan as Plan
    from zeroshot.bulk.sorting import Sorted as Sorted
    from zeroshot.bulk.sorting import Undone as Undone
    from zeroshot.bulk.sorting import apply_sort as apply_sort
    from zeroshot.bulk.sorting import plan_sort as plan_sort
    from zeroshot.bulk.sorting import sort as sort
    from zeroshot.bulk.sorting import undo_sort as undo_sort
    from zeroshot.bulk.status import Status as Status
    from zeroshot.bulk.status import read_status as read_status
    from zeroshot.bulk.summary import Summary as Summary
    from zeroshot.bulk.tagging import Tagged as Tagged
    from zeroshot.bulk.tagging import tag as tag
else:
    __getattr__ = _loader(globals(), _MODULES, __name__)

    def __dir__():
        return sorted(__all__)
