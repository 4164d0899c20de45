"""The state of what is in the hub's cache: which checkpoints, whole or not, verified or not.

Nothing is downloaded or changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zeroshot import files
from zeroshot.catalog import Entry
from zeroshot.hub import archives
from zeroshot.hub.checksums import SHA1, SHA256, published_name
from zeroshot.hub.location import cache_folder
from zeroshot.weight_files import SUFFIXES


@dataclass(frozen=True)
class Cached:
    """One repository's files in the cache, or one archive of a publisher."""

    entry: Entry
    repository: str  # or the archive's file name
    path: Path  # its folder, or the archive
    size: int = 0  # bytes of its weights
    commits: tuple[str, ...] = ()  # that have weights here
    broken: str = ""  # name of a file whose link leads nowhere
    unfinished: int = 0  # downloads
    damaged: str = ""  # what is wrong with a file's content, in words
    verified: int = 0  # files whose content was compared with a published hash
    unverified: int = 0  # files of unknown hash

    @property
    def is_archive(self) -> bool:
        """Whether it came from the publisher's own address."""
        return not self.commits and self.path.is_file()


def cached_checkpoints(entry: Entry, *, verify: bool = False) -> list[Cached]:
    """Return what the cache holds of a catalogued checkpoint; with `verify` files are hashed.

    Correct files have the content that the hub names them by (sha256, git's sha1 for small ones),
    and the recorded sha256 where the catalog has one.
    """
    found = []
    root = cache_folder(None)
    for repository in (entry.repository, *entry.mirrors):
        folder = root / f"models--{repository.replace('/', '--')}"
        if folder.is_dir():
            found.append(_repository(entry, repository, folder, verify))
    if entry.url and (path := archives.archive_path(entry.url, entry.url_sha256)).is_file():
        found.append(_archive(entry, path, verify))
    return found


def _repository(entry: Entry, repository: str, folder: Path, verify: bool) -> Cached:
    snapshots = list((folder / "snapshots").glob("*/*"))
    broken = [path.name for path in snapshots if not path.exists()]
    weights = [path for path in snapshots if path.suffix in SUFFIXES and path.exists()]
    damaged, verified = "", 0
    if verify and weights and not broken:
        damaged, verified = _compared(entry, snapshots)
    return Cached(
        entry,
        repository,
        folder,
        size=sum(path.stat().st_size for path in weights),
        commits=tuple(sorted({path.parent.name for path in weights})),
        broken=broken[0] if broken else "",
        unfinished=len(list((folder / "blobs").glob("*.incomplete"))),
        damaged=damaged,
        verified=verified,
        unverified=len(snapshots) - verified,
    )


def _archive(entry: Entry, path: Path, verify: bool) -> Cached:
    size, damaged = path.stat().st_size, ""
    if verify and (found := files.sha256(path)) != entry.url_sha256:
        damaged = f"it is damaged: its hash is {found}, published {entry.url_sha256}"
    return Cached(entry, path.name, path, size, damaged=damaged, verified=int(verify))


def _compared(entry: Entry, paths: list[Path]) -> tuple[str, int]:
    """Return what is wrong with these files, or nothing, and of how many a hash is known."""
    verified = 0
    for path in paths:
        published = published_name(path)
        if entry.files and path.name == entry.files[-1] and entry.sha256:
            published = entry.sha256
        if SHA256.fullmatch(published):
            found = files.sha256(path)
        elif SHA1.fullmatch(published):
            found = files.git_sha1(path)[0]
        else:
            continue
        verified += 1
        if found != published:
            return f"{path.name} is damaged: its hash is {found}, published {published}", verified
    return "", verified
