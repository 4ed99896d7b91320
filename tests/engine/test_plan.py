"""The key of a shard: it changes with everything that decides a result, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corpuskit.engine.plan import Input, Shard, file_sha256, shard_key

INPUT = Input("/here/a.gz", "https://example.org/a.gz", "5" * 64, 1000, 0, 500)
SHARD = Shard("mc4-00000", (INPUT,), {"source": "mc4", "lang": "ja"})
PARAMS: dict[str, Any] = {"normalize": "ja-safe", "rules": [{"name": "too_short", "min": 200}]}
KEY = shard_key("clean", 1, PARAMS, SHARD)


def with_input(**changes: Any) -> Shard:
    return replace(SHARD, inputs=(replace(INPUT, **changes),))


@pytest.mark.parametrize(
    ("what", "key"),
    [
        ("stage", shard_key("scrub", 1, PARAMS, SHARD)),
        ("version", shard_key("clean", 2, PARAMS, SHARD)),
        ("a parameter", shard_key("clean", 1, PARAMS | {"normalize": "none"}, SHARD)),
        (
            "a parameter deep inside",
            shard_key("clean", 1, PARAMS | {"rules": [{"name": "too_short", "min": 201}]}, SHARD),
        ),
        ("one parameter more", shard_key("clean", 1, PARAMS | {"language": "ja"}, SHARD)),
        ("shard name", shard_key("clean", 1, PARAMS, replace(SHARD, name="mc4-00001"))),
        ("a label", shard_key("clean", 1, PARAMS, replace(SHARD, labels={"source": "mc4", "lang": "en"}))),
        ("input name", shard_key("clean", 1, PARAMS, with_input(name="https://example.org/b.gz"))),
        ("input content", shard_key("clean", 1, PARAMS, with_input(sha256="6" * 64))),
        ("input size", shard_key("clean", 1, PARAMS, with_input(size=1001))),
        ("range start", shard_key("clean", 1, PARAMS, with_input(start=1))),
        ("range stop", shard_key("clean", 1, PARAMS, with_input(stop=501))),
        ("no range", shard_key("clean", 1, PARAMS, with_input(start=None, stop=None))),
        ("one input more", shard_key("clean", 1, PARAMS, replace(SHARD, inputs=(INPUT, INPUT)))),
    ],
)
def test_the_key_changes_with(what: str, key: str) -> None:
    assert key != KEY, what


def test_the_key_does_not_change_with_where_an_input_lies() -> None:
    assert shard_key("clean", 1, PARAMS, with_input(path="/mnt/elsewhere/copy.gz")) == KEY


def test_the_key_does_not_change_with_the_order_of_parameters_or_labels() -> None:
    backwards = dict(reversed(PARAMS.items()))
    assert shard_key("clean", 1, backwards, replace(SHARD, labels={"lang": "ja", "source": "mc4"})) == KEY


def test_the_order_of_rules_and_of_inputs_does_matter() -> None:
    rules = [{"name": "a"}, {"name": "b"}]
    other = replace(INPUT, name="b")
    assert shard_key("s", 1, {"rules": rules}, SHARD) != shard_key("s", 1, {"rules": rules[::-1]}, SHARD)
    assert shard_key("s", 1, {}, replace(SHARD, inputs=(INPUT, other))) != shard_key(
        "s", 1, {}, replace(SHARD, inputs=(other, INPUT))
    )


def test_file_sha256_is_the_well_known_one(tmp_path: Any) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
