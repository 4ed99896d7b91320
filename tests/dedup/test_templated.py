"""The preset `sharp` on short pages of one template: benchmarks/near_duplicates.py, made small."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module("near_duplicates")


def test_pages_are_always_the_same_and_as_long_as_they_are_said_to_be(near: ModuleType) -> None:
    for kind in near.KINDS:
        pages = near.make_pages(kind, 80, 1)
        assert pages == near.make_pages(kind, 80, 1) != near.make_pages(kind, 80, 2)
        assert min(map(len, pages)) > 90 and max(map(len, pages)) < 650


def test_all_near_duplicates_are_found_and_nothing_else_goes(near: ModuleType, tmp_path: Path) -> None:
    texts = [page for kind in near.KINDS for page in near.make_pages(kind, 80, 1)]
    file = tmp_path / "pages.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps({"url": str(n), "text": text}) + "\n" for n, text in enumerate(texts))
    survivors, _ = near.run_corpuskit(file, {"preset": "sharp"}, tmp_path / "out")
    truth = near.Truth([near.as_compared(text) for text in texts])
    *classes, whole = near.score(truth, survivors, None, [*near.CLASSES, (0, 1 << 30)])
    assert sum(row["pairs"] for row in classes) <= whole["pairs"]
    assert whole["pairs"] > 100 and whole["gone"] > 50
    assert whole["found"] > 0.99
    assert whole["nothing"] == whole["alien"] == whole["merged_below_0.5"] == 0


def test_a_tool_that_joins_all_or_nothing_gets_the_figures_it_should(near: ModuleType) -> None:
    a, b = "同じ文章の続きがここにあります。" * 2, "まったく別のことが書いてある頁です。"
    truth = near.Truth([a, b, a, a + "末"])
    [row] = near.score(truth, near.np.arange(4), None, [(0, 1 << 30)])
    assert (row["pairs"], row["found"], row["merged"], row["gone"]) == (3, 0.0, 0, 0)
    [row] = near.score(truth, near.np.zeros(4, near.np.int64), None, [(0, 1 << 30)])
    assert (row["found"], row["merged"], row["merged_below_0.5"]) == (1.0, 6, 3)
    assert (row["gone"], row["nothing"], row["alien"]) == (3, 1, 1)
