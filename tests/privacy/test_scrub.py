"""The scrub stage on real Parquet files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner, map_shards
from corpuskit.engine.tables import TableWriter
from corpuskit.privacy.scrub import STAGE, scrub
from corpuskit.schema import DOCUMENT, FINDING

TEXTS = ["電話は０３－００００－１２３４です。", "何もない。", "info@example.jpと090-0000-1234", ""]
MASKED = ["電話は<PHONE>です。", "何もない。", "<EMAIL>と<PHONE>", ""]


def documents(path: Path, texts: list[str]) -> Shard:
    with TableWriter(path, DOCUMENT) as writer:
        for at in range(0, len(texts), 3):
            rows = [
                {"id": f"{at + k:032x}", "text": text, "url": None, "source": "mc4", "lang": "ja", "meta": "{}"}
                for k, text in enumerate(texts[at : at + 3])
            ]
            writer.write(pa.RecordBatch.from_pylist(rows, DOCUMENT))
    source = Input(str(path), "clean/kept/mc4-00000.parquet", file_sha256(path), path.stat().st_size)
    return Shard("mc4-00000", (source,), {"source": "mc4"})


def test_texts_are_masked_and_findings_listed(tmp_path: Path) -> None:
    shard = documents(tmp_path / "in.parquet", TEXTS)
    (tmp_path / "out").mkdir()
    counts = scrub(shard, tmp_path / "out", {"types": ["email", "phone_jp"]})

    kept = pq.read_table(tmp_path / "out" / "kept.parquet")
    assert kept.schema.equals(DOCUMENT)
    assert kept["text"].to_pylist() == MASKED
    before = pq.read_table(tmp_path / "in.parquet")
    assert kept.drop_columns("text").equals(before.drop_columns("text"))

    findings = pq.read_table(tmp_path / "out" / "findings.parquet")
    assert findings.schema.equals(FINDING)
    by_id = dict(zip(before["id"].to_pylist(), TEXTS, strict=True))
    values = [(f["type"], by_id[f["id"]][f["start"] : f["end"]]) for f in findings.to_pylist()]
    assert values == [
        ("phone_jp", "０３－００００－１２３４"),
        ("email", "info@example.jp"),
        ("phone_jp", "090-0000-1234"),
    ]
    assert counts == {
        "source": "mc4",
        "in": 4,
        "kept": 4,
        "masked_documents": 2,
        "findings": {"email": 1, "phone_jp": 2},
        "chars_in": sum(map(len, TEXTS)),
        "chars_kept": sum(map(len, MASKED)),
        "bytes_in": sum(len(t.encode()) for t in TEXTS),
        "bytes_kept": sum(len(t.encode()) for t in MASKED),
    }


def test_a_type_that_is_not_asked_for_stays(tmp_path: Path) -> None:
    shard = documents(tmp_path / "in.parquet", TEXTS)
    (tmp_path / "out").mkdir()
    counts = scrub(shard, tmp_path / "out", {"types": ["email"]})
    assert counts["findings"] == {"email": 1}
    assert pq.read_table(tmp_path / "out" / "kept.parquet")["text"].to_pylist()[0] == TEXTS[0]


def test_an_empty_file(tmp_path: Path) -> None:
    shard = documents(tmp_path / "in.parquet", [])
    (tmp_path / "out").mkdir()
    counts = scrub(shard, tmp_path / "out", {"types": ["email", "phone_jp"]})
    assert (counts["in"], counts["chars_in"], counts["findings"]) == (0, 0, {"email": 0, "phone_jp": 0})
    assert pq.read_table(tmp_path / "out" / "findings.parquet").schema.equals(FINDING)


def test_the_same_bytes_through_the_runner(tmp_path: Path) -> None:
    shard = documents(tmp_path / "in.parquet", TEXTS * 50)
    params = {"types": ["email", "phone_jp"]}
    runs = [map_shards(STAGE, [shard], out=tmp_path / n, params=params, runner=Runner("local", 1)) for n in "ab"]
    assert runs[0] == runs[1]
    assert {o.path for o in runs[0][0].outputs} == {"kept/mc4-00000.parquet", "findings/mc4-00000.parquet"}
