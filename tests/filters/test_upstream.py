"""What OSCAR says of a document becomes signals; other sources and broken metadata say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpuskit import config
from corpuskit.build.sources import part_names
from corpuskit.build.stages import clean
from corpuskit.config import Source
from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Runner
from corpuskit.filters.upstream import NO_PERPLEXITY, SIGNALS, measure_upstream
from corpuskit.sources.fields import from_config
from corpuskit.sources.streams import as_input

NOTHING = [NO_PERPLEXITY, 0, 0, 0, 0, 0, 0]


def meta(**metadata: object) -> str:
    """As the pipeline keeps OSCAR's fields."""
    return json.dumps({"file": "f", "record": 0, "fields": {f"metadata.{k}": v for k, v in metadata.items()}})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (meta(harmful_pp=12.5, quality_warnings=None), [12.5, 0, 0, 0, 0, 0, 0]),
        (meta(quality_warnings=["tiny", "noisy"]), [NO_PERPLEXITY, 2, 1, 0, 0, 0, 1]),
        (meta(quality_warnings=["header", "header", "new_one"], harmful_pp=3), [3, 1, 0, 0, 1, 0, 0]),
        # as `--input` keeps them: nested
        (
            json.dumps({"fields": {"metadata": {"harmful_pp": 7.0, "quality_warnings": ["footer"]}}}),
            [7, 1, 0, 0, 0, 1, 0],
        ),
        (json.dumps({"file": "f", "record": 0}), NOTHING),
        (None, NOTHING),
        (meta(harmful_pp="low", quality_warnings="tiny"), NOTHING),
        (meta(harmful_pp=1e300), NOTHING),
        (meta(harmful_pp=True), NOTHING),
        (meta(harmful_pp=-1), NOTHING),
        ('{"harmful_pp": ', NOTHING),
        ('["harmful_pp"]', NOTHING),
        ('{"fields": ["harmful_pp"]}', NOTHING),
    ],
)
def test_what_upstream_says(given: str | None, expected: list[float]) -> None:
    assert measure_upstream(pa.array([given], pa.string())).tolist() == [expected]


def test_from_oscars_file_to_the_signals_table(tmp_path: Path) -> None:
    record = {
        "content": "庭の柿が色づいた。" * 30,
        "warc_headers": {"warc-target-uri": "https://example.org/", "warc-date": "2022-11-26T00:00:00Z"},
        "metadata": {"harmful_pp": 24.5, "quality_warnings": ["short_sentences"], "tlsh": None},
    }
    path = tmp_path / "ja_meta_part_1.jsonl"
    path.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
    source = Source(**config.load_upstream("oscar_2301").source("oscar", {"with": {"lang": "ja"}, "shards": "1-1"}))
    labels = {"source": "oscar", "lang": "ja", "reader": "jsonl", **from_config(source.fields).labels()}
    shard = Shard(part_names("oscar-00001", 1)[0], (as_input(str(path)),), labels)
    measuring = config.load_pipeline("ja").measuring().model_copy(update={"language_id": None})
    clean([shard], out=tmp_path / "out", runner=Runner("local", workers=1), rules=None, measuring=measuring)
    [row] = pq.read_table(tmp_path / "out" / "signals" / "oscar-00001.parquet").select(SIGNALS).to_pylist()
    assert row == dict(zip(SIGNALS, [24.5, 1, 0, 1, 0, 0, 0], strict=True))
