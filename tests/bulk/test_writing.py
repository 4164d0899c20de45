"""Writing of finished parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bulk.jobs import run
from tests.bulk.support import save_images
from zeroshot.bulk.output import Output
from zeroshot.bulk.rows import Row
from zeroshot.bulk.work import PartEnd
from zeroshot.bulk.writing import Writer
from zeroshot.errors import SaveError


@pytest.fixture
def output(tmp_path: Path) -> Output:
    run(save_images(tmp_path / "images", 5, broken=[1]), tmp_path / "out", part_rows=2)
    return Output.open(tmp_path / "out")


def test_the_error_of_a_part_is_raised_by_the_next_call(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "path_of", lambda *_: output.folder / "missing" / "part")
    with Writer(output) as writer:
        writer.put(PartEnd(0, 0, 0, last=False), [])
        with pytest.raises(SaveError):
            writer.put(PartEnd(0, 1, 0, last=False), [])
        writer.finish()


def test_the_end_of_a_stream_is_written_before_its_last_part(output: Output) -> None:
    with Writer(output) as writer:
        writer.put(PartEnd(7, 1, 1, last=True, stream=True), [Row(0, "a")])
        writer.finish()
        ends = output.end_of(7).stat().st_mtime_ns, output.path_of(7, 1).stat().st_mtime_ns

        assert ends[0] <= ends[1]
        assert output.end_of(7).read_text() == '{\n "rows": 3\n}\n'
        assert writer.counts[7, 1].rows == 1
