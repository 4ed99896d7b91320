"""Deciding from signals alone: the same verdicts as while measuring, counted by rule, severity and source."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner, map_shards
from corpuskit.engine.store import Receipt
from corpuskit.filters.decide import STAGE
from corpuskit.filters.sample import SAMPLE, SAMPLES, sample_keys, sample_of, smallest
from corpuskit.rulesets import Rule
from corpuskit.schema import MEASURED, VERDICT, document_id

RULES = [
    Rule(name="short", signal="num_chars", min=100, severities=(50, 10), source="test"),
    Rule(name="foreign", signal="japanese_per_char", min=0.5, source="test"),
]


def signals_file(folder: Path, rows: list[tuple[float, float]], name: str = "s") -> Shard:
    """A signals file of documents whose text has ten characters more than num_chars, three bytes each."""
    schema = pa.schema([*MEASURED, ("num_chars", pa.float32()), ("unused", pa.float32()), ("japanese_per_char", pa.float32())])  # noqa: E501  # fmt: skip
    columns = [
        [document_id("web", name, n) for n in range(len(rows))],
        [10 + (0 if np.isnan(chars) else int(chars)) for chars, _ in rows],
        [30 + (0 if np.isnan(chars) else 3 * int(chars)) for chars, _ in rows],
        [chars for chars, _ in rows],
        [0.0] * len(rows),
        [share for _, share in rows],
    ]
    path = folder / "in" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, row_group_size=3)
    return Shard(name, (Input(str(path), f"in/{name}", file_sha256(path), path.stat().st_size),), {"source": "web"})


def decide(folder: Path, rows: list[tuple[float, float]], rules: list[Rule] = RULES, out: str = "out") -> Receipt:
    params = {"preset": "mine", "rules": [rule.model_dump(exclude={"source"}) for rule in rules]}
    runner = Runner(executor="local", retries=0)
    [receipt] = map_shards(STAGE, [signals_file(folder, rows)], out=folder / out, params=params, runner=runner)
    return receipt


def read(folder: Path, kind: str, out: str = "out") -> pa.Table:
    return pq.read_table(folder / out / kind / "s.parquet")


ROWS = [(100, 0.5), (99, 0.5), (50, 0.9), (49, 0.1), (9, 0.9), (200, 0.4), (np.nan, 0.9), (300, np.nan), (400, 1.0)]


def test_a_verdict_for_every_document_and_the_rows_that_are_kept(tmp_path: Path) -> None:
    decide(tmp_path, ROWS)
    verdicts = read(tmp_path, "verdicts")
    assert verdicts.schema.equals(VERDICT)
    assert verdicts["id"].to_pylist() == [document_id("web", "s", n) for n in range(len(ROWS))]
    found = list(zip(verdicts["rule"].to_pylist(), verdicts["severity"].to_pylist(), strict=True))
    assert found == [
        (None, 0),
        ("short", 1),  # the bound itself passes
        ("short", 1),
        ("short", 2),  # fails both rules: the first is named
        ("short", 3),
        ("foreign", 1),
        ("short", 3),  # what is not a number fails, as severely as can be
        ("foreign", 1),
        (None, 0),
    ]
    values = verdicts["value"].to_pylist()
    assert values[:6] == [None, 99, 50, 49, 9, pytest.approx(0.4)]
    assert np.isnan(values[6]) and np.isnan(values[7]) and values[8] is None
    assert read(tmp_path, "rows")["row"].to_pylist() == [0, 8]


def test_documents_characters_and_bytes_are_counted_by_rule_and_severity(tmp_path: Path) -> None:
    counts = decide(tmp_path, ROWS).counts
    assert (counts["in"], counts["kept"], counts["chars_kept"], counts["bytes_kept"]) == (9, 2, 520, 1560)
    assert counts["dropped"] == {"short": 5, "foreign": 2}
    assert counts["failing"] == {"short": 5, "foreign": 3}
    assert counts["only_failing"] == {"short": 4, "foreign": 2}
    assert counts["severities"] == {"short": [2, 1, 2], "foreign": [2]}
    assert counts["chars_dropped"] == {"short": 99 + 50 + 49 + 9 + 50, "foreign": 200 + 300 + 20}
    assert counts["bytes_dropped"] == {"short": 3 * (99 + 50 + 49 + 9 + 50), "foreign": 3 * (200 + 300 + 20)}


def test_no_rules_keep_everything_and_no_documents_are_no_trouble(tmp_path: Path) -> None:
    assert decide(tmp_path, ROWS, []).counts["kept"] == len(ROWS)
    assert read(tmp_path, "rows")["row"].to_pylist() == list(range(len(ROWS)))
    assert decide(tmp_path, []).counts["in"] == 0
    assert [read(tmp_path, kind).num_rows for kind in ("verdicts", "rows")] == [0, 0]


def test_a_rule_that_is_renamed_leaves_the_rows_as_they_were(tmp_path: Path) -> None:
    one = decide(tmp_path, ROWS)
    other = decide(tmp_path, ROWS, [rule.model_copy(update={"name": f"{rule.name}_2"}) for rule in RULES], out="other")
    hashes = [{o.path.split("/")[0]: o.sha256 for o in receipt.outputs} for receipt in (one, other)]
    assert hashes[0]["rows"] == hashes[1]["rows"] and hashes[0]["verdicts"] != hashes[1]["verdicts"]


def test_the_sample_is_the_smallest_keyed_hashes_of_each_rule_and_severity(tmp_path: Path) -> None:
    chance = random.Random(1)
    rows = [(chance.choice([5, 30, 70, 200]), chance.choice([0.1, 0.9])) for _ in range(500)]
    decide(tmp_path, rows)
    [batch] = read(tmp_path, "verdicts").combine_chunks().to_batches()
    dropped = np.flatnonzero(batch["rule"].is_valid().to_numpy(zero_copy_only=False))
    table = smallest(pa.Table.from_batches([sample_of(batch.take(pa.array(dropped)), dropped)]))
    assert table.schema.equals(SAMPLE)
    verdicts = batch.to_pylist()
    keys = sample_keys(batch["id"]).tolist()
    for rule, severity in (("short", 1), ("short", 2), ("short", 3), ("foreign", 1)):
        of = [n for n, v in enumerate(verdicts) if (v["rule"], v["severity"]) == (rule, severity)]
        wanted = sorted(of, key=lambda n: keys[n])[:SAMPLES]
        mine = [s for s in table.to_pylist() if (s["rule"], s["severity"]) == (rule, severity)]
        assert len(of) > SAMPLES and [s["row"] for s in mine] == wanted
        assert [(s["id"], s["value"]) for s in mine] == [(verdicts[n]["id"], verdicts[n]["value"]) for n in wanted]
    assert table.num_rows == 4 * SAMPLES
    assert smallest(table).equals(table)


def test_signals_that_no_rule_asks_for_are_not_read(tmp_path: Path) -> None:
    shard = signals_file(tmp_path, ROWS)
    path = Path(shard.inputs[0].path)
    pq.write_table(pq.read_table(path).drop_columns(["unused"]), path)
    params: dict[str, Any] = {"preset": "mine", "rules": [rule.model_dump() for rule in RULES]}
    (tmp_path / "scratch").mkdir()
    assert STAGE.function(shard, tmp_path / "scratch", params)["kept"] == 2
