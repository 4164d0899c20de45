"""Distribution of parts over processes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.bulk.shards import Shard, parse_shard
from zeroshot.errors import InputError


@given(st.integers(1, 7), st.integers(0, 5), st.integers(0, 40))
def test_every_part_belongs_to_exactly_one_shard(count: int, source: int, chunk: int) -> None:
    shards = [parse_shard(f"{i}/{count}") for i in range(1, count + 1)]

    assert sum(shard.has(source, chunk) for shard in shards) == 1


def test_a_shard_is_written_as_it_is_given() -> None:
    assert str(parse_shard("2/3")) == "2/3"
    assert parse_shard(None) == Shard() == parse_shard("1/1")


@pytest.mark.parametrize("value", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", "", 3, "²/4"])
def test_an_invalid_shard_is_an_input_error(value: str) -> None:
    with pytest.raises(InputError, match="I from 1 to N"):
        parse_shard(value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "1/1"),
        ({"ARRAY_TASK_ID": "0", "ARRAY_TASK_COUNT": "4"}, "1/4"),
        ({"ARRAY_TASK_ID": "4", "ARRAY_TASK_MIN": "1", "ARRAY_TASK_COUNT": "4"}, "4/4"),
        (
            {
                "ARRAY_TASK_ID": "7",
                "ARRAY_TASK_MIN": "1",
                "ARRAY_TASK_STEP": "3",
                "ARRAY_TASK_COUNT": "3",
            },
            "3/3",
        ),
        ({"PROCID": "1", "NTASKS": "2"}, "2/2"),
        ({"ARRAY_TASK_ID": "0", "ARRAY_TASK_COUNT": "2", "PROCID": "0", "NTASKS": "1"}, "1/2"),
    ],
)
def test_auto_reads_the_variables_of_slurm(variables: dict[str, str], expected: str) -> None:
    environment = {f"SLURM_{name}": value for name, value in variables.items()}

    assert str(parse_shard("auto", environment)) == expected


@pytest.mark.parametrize("task", ["9", "x", "-1", ""])
def test_variables_that_do_not_fit_are_an_input_error(task: str) -> None:
    environment = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "4"}

    with pytest.raises(InputError, match="SLURM_ARRAY_TASK_ID"):
        parse_shard("auto", environment)
