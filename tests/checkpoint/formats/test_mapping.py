"""Files are mapped copy-on-write, and what was read of them can be released."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from zeroshot.checkpoint.formats.mapping import Content, concatenate, map_file, release


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "values"
    path.write_bytes(torch.arange(4096.0).numpy().tobytes())
    return path


def over(data: mmap.mmap) -> torch.Tensor:
    return torch.frombuffer(data, dtype=torch.float32)


def test_map_holds_the_content_of_the_file(path: Path) -> None:
    assert torch.equal(over(map_file(path)), torch.arange(4096.0))


def test_writing_to_a_map_does_not_change_the_file(path: Path) -> None:
    before = path.read_bytes()

    over(map_file(path)).zero_()

    assert path.read_bytes() == before
    assert torch.equal(over(map_file(path)), torch.arange(4096.0))


def test_tensor_keeps_its_values_after_release(path: Path) -> None:
    data = map_file(path)
    tensor = over(data)
    assert float(tensor.sum()) > 0

    for _ in range(3):
        release(data)
        assert torch.equal(tensor, torch.arange(4096.0))


def test_tensor_stays_valid_after_the_file_is_deleted(path: Path) -> None:
    data = map_file(path)
    path.unlink()

    assert torch.equal(over(data), torch.arange(4096.0))


def test_release_ignores_locked_memory() -> None:
    class Locked:
        def madvise(self, _: int) -> None:
            raise OSError(22, "Invalid argument")

    release(Locked())  # type: ignore[arg-type]


def test_release_does_nothing_where_the_system_has_no_such_call(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(mmap, "MADV_DONTNEED", raising=False)

    release(map_file(path))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int8], ids=str)
@pytest.mark.parametrize("shapes", [[(2, 3)], [(1, 3), (4, 3)], [(5,), (2,)], [(1, 2, 3)] * 3])
def test_joined_tensors_are_one_tensor_in_order(
    dtype: torch.dtype, shapes: list[tuple[int, ...]]
) -> None:
    parts = [torch.randint(-9, 9, shape).to(dtype) for shape in shapes]

    found = concatenate(parts)

    assert found.dtype == dtype
    assert torch.equal(found, torch.cat(parts))


def test_joined_tensors_have_memory_of_their_own() -> None:
    parts = [torch.ones(2, 2), torch.ones(1, 2)]
    found = concatenate(parts)

    parts[0].zero_()

    assert torch.equal(found, torch.ones(3, 2))


def test_joined_tensors_where_memory_cannot_be_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MAP_PRIVATE")  # as on Windows

    assert torch.equal(concatenate([torch.ones(2), torch.zeros(1)]), torch.tensor([1.0, 1.0, 0.0]))


def test_content_has_no_metadata_or_maps_by_default() -> None:
    assert (Content({}).metadata, Content({}).maps) == ({}, ())
