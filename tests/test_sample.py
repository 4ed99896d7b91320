"""The bundled sample: as large and as varied as promised, and made by sample/build.py from the texts beside it."""

from __future__ import annotations

import bz2
import csv
import gzip
import importlib.util
import lzma
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from corpuskit.config import sample_dir

ROOT = Path(__file__).parents[1]
OPENERS = {".gz": gzip.decompress, ".xz": lzma.decompress, ".bz2": bz2.decompress}


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sample_build", ROOT / "sample" / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contents(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): OPENERS.get(p.suffix, bytes)(p.read_bytes()) for p in files}


def test_the_packed_files_are_what_the_texts_give(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "OUT", tmp_path)
    build.main()
    made, shipped = contents(tmp_path), contents(sample_dir())
    assert len(shipped) == 11
    assert sorted(made) == sorted(shipped)
    assert [name for name in made if made[name] != shipped[name]] == [], "run: python sample/build.py"


def test_it_is_as_large_and_as_varied_as_promised(build: ModuleType) -> None:
    texts = {
        lang: [
            t for files in sources.values() for n in files for t in build.parse(ROOT / "sample" / f"{n}.txt").values()
        ]
        for lang, sources in build.CONTENTS.items()
    }
    articles = {
        lang: [t for t in found if t.header.get("kind", "article") == "article"] for lang, found in texts.items()
    }
    ja = articles["ja"]
    assert len(ja) >= 300
    assert sum(len(t.text.encode()) for t in ja) >= 400_000
    assert sum("bad" in t.header for t in ja) >= 60
    assert len({t.header["bad"] for t in ja if "bad" in t.header}) >= 5
    assert sum("near" in t.header for t in ja) >= 40
    assert sum("pii" in t.header for t in ja) >= 30
    genres = {name for sources in build.CONTENTS["ja"].values() for name in sources}
    assert len(genres - {"ja-bad", "ja-notice"}) >= 8
    assert len(articles["en"]) >= 150
    assert len(articles["code"]) >= 30
    assert len({t.header["lang"] for t in articles["code"]}) >= 5


def test_the_table_has_a_row_for_every_text_and_its_ids_are_unique(build: ModuleType) -> None:
    with open(sample_dir() / "expected.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = [
        name for sources in build.CONTENTS.values() for files in sources.values() for n in files
        for name in build.parse(ROOT / "sample" / f"{n}.txt")
    ]  # fmt: skip
    assert Counter(names) == Counter(row["name"] for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)
    outcomes = Counter(row["outcome"].split(":")[0] for row in rows if row["name"].startswith("ja"))
    assert outcomes["dropped"] >= 60
    assert outcomes["duplicate"] >= 40
    assert {row["survivor"] for row in rows if row["outcome"] == "duplicate"} <= set(names)


def test_invented_addresses_lie_in_reserved_domains(build: ModuleType) -> None:
    found = []
    for path in sorted((ROOT / "sample").glob("*.txt")):
        for name, text in build.parse(path).items():
            if path.name != "code.txt":  # decorators and annotations look like addresses
                found += [(name, domain) for domain in re.findall(r"[\w.+-]+[@＠]([a-z][a-z0-9.-]+)", text.text)]
    reserved = re.compile(r"(.+\.)?(example\.(com|org|net|jp|(co|ne|or|ac|ed)\.jp)|example)\.?")
    assert len(found) >= 30
    assert [(name, domain) for name, domain in found if not reserved.fullmatch(domain)] == []
