"""Report which cataloged checkpoints are cached, complete and verified.

Nothing is downloaded or changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zeroshot import files
from zeroshot.catalog import Entry
from zeroshot.hub import archives
from zeroshot.hub.checksums import find_mismatch, is_hash, published_name
from zeroshot.hub.location import cache_folder
from zeroshot.weight_files import SUFFIXES


@dataclass(frozen=True)
class Cached:
    """One repository's files in the cache, or one archive from a publisher."""

    entry: Entry
    repository: str  # or the archive's file name
    path: Path  # its folder, or the archive
    size: int = 0  # bytes of the weights files
    commits: tuple[str, ...] = ()  # commits with cached weights
    broken: str = ""  # name of a file with a broken symlink
    unfinished: int = 0  # number of unfinished downloads
    damaged: str = ""  # message about a corrupted file
    verified: int = 0  # number of files that match a published hash
    unverified: int = 0  # number of files without a published hash

    @property
    def is_archive(self) -> bool:
        """Whether it was downloaded from the publisher instead of the Hub."""
        return not self.commits and self.path.is_file()


def cached_checkpoints(entry: Entry, *, verify: bool = False) -> list[Cached]:
    """Return the cached copies of a cataloged checkpoint.

    `verify=True` hashes the files. The expected hash is the name of the file's blob in
    the cache: a sha256, or a git sha1 for small files. For the weights it is the sha256 of the
    catalog, if it has one.
    """
    found = []
    root = cache_folder(None)
    for repository in (entry.repository, *(m.partition(":")[0] for m in entry.mirrors)):
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
        damaged, verified = _find_damage(entry, snapshots)
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
        damaged = f"checksum mismatch: expected {entry.url_sha256}, got {found}"
    return Cached(entry, path.name, path, size, damaged=damaged, verified=int(verify))


def _find_damage(entry: Entry, paths: list[Path]) -> tuple[str, int]:
    """Return a message about the first corrupted file, and the hashes checked.

    The message is "" if every file is correct. Files without a published hash are skipped.
    """
    verified = 0
    for path in paths:
        published = published_name(path)
        if entry.files and path.name == entry.files[-1] and entry.sha256:
            published = entry.sha256
        if not is_hash(published):
            continue
        verified += 1
        if found := find_mismatch(path, published):
            return f"{path.name}: checksum mismatch: expected {published}, got {found}", verified
    return "", verified
