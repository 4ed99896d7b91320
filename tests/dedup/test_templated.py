"""The preset `sharp` on short pages of one template: benchmarks/templated.py, made small."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def templated(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    spec = importlib.util.spec_from_file_location("templated", BENCHMARKS / "templated.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_always_the_same_and_as_long_as_they_are_said_to_be(templated: ModuleType) -> None:
    for kind in templated.KINDS:
        pages = templated.make_pages(kind, 80, 1)
        assert pages == templated.make_pages(kind, 80, 1) != templated.make_pages(kind, 80, 2)
        assert min(map(len, pages)) > 90 and max(map(len, pages)) < 650


def test_all_near_duplicates_are_found_and_nothing_else_goes(templated: ModuleType, tmp_path: Path) -> None:
    texts = [page for kind in templated.KINDS for page in templated.make_pages(kind, 80, 1)]
    pairs = templated.true_pairs(texts, [range(k, k + 80) for k in range(0, len(texts), 80)])
    file = tmp_path / "pages.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps({"url": str(n), "text": text}) + "\n" for n, text in enumerate(texts))
    kept = templated.corpuskit_kept("sharp", file, tmp_path / "out")
    rows = templated.score(kept, texts, pairs)
    assert rows[-1]["pairs"] > 100 and rows[-1]["gone"] > 50
    assert all(row["right"] == 1.0 and row["alien"] == 0.0 for row in rows)
    assert rows[-1]["found"] > 0.99
