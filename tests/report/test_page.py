"""The page: everything from the web is escaped, nothing is loaded from elsewhere, the same corpus gives the same page."""  # noqa: E501

from __future__ import annotations

from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpuskit.engine.store import Output, Receipt, write_atomic
from corpuskit.report import page as page_module
from corpuskit.report.page import write_report
from corpuskit.schema import REMOVED

HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "'\"><svg onload=alert(1)>",
    "--><!-- <iframe src='https://evil.example'></iframe>",
    "&lt;b&gt; & &amp; \u202e\u0000",
    "<a href='javascript:alert(1)'>日本</a>",
]
ALLOWED = {"html", "meta", "title", "style", "h1", "h2", "table", "tr", "th", "td", "span", "p", "br"}


def removed(folder: Path, rows: list[dict[str, Any]], name: str = "s") -> None:
    """One finished shard of a stage with these removed documents."""
    (folder / "removed").mkdir(parents=True, exist_ok=True)
    path = folder / "removed" / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, REMOVED), path)
    output = Output(f"removed/{name}.parquet", path.stat().st_size, "0" * 64)
    receipt = Receipt("clean", 1, name, "k", [], {}, {}, {}, [output])
    write_atomic(folder / "receipts" / f"{name}.json", receipt.to_json())


def row(text: str, rule: str = "too_short", number: int = 0) -> dict[str, Any]:
    return {"id": f"{number:032x}", "text": text, "rule": rule, "value": 12.5, "step": "clean"}


def counts(documents: int) -> dict[str, Any]:
    step = {"step": "read", "documents": documents, "characters": 10 * documents, "bytes": 30 * documents}
    return {"in": documents, "kept": documents - 1, "dropped": 1, "duplicates": 0, "quarantined": 0, "steps": [step]}


def funnel(source: str = "mc4", rules: tuple[str, ...] = ("too_short",), masked: str = "email") -> dict[str, Any]:
    return {
        "total": counts(1234),
        "sources": {source: counts(1234)},
        "rules": {rule: {"dropped": 1, "failing": 2} for rule in rules},
        "masked": {masked: 3},
    }


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.comments: list[str] = []
        self._svg = 0
        self._open = False
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._svg += tag == "svg"
        if not self._svg:
            self.tags.add(tag)
            self.attributes.update(name for name, _ in attrs)
        if tag in ("td", "h2", "p"):
            self.cells.append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._svg -= tag == "svg"
        self._open = self._open and tag not in ("td", "h2", "p")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[-1] += data

    def handle_comment(self, data: str) -> None:
        if not self._svg:
            self.comments.append(data)


@pytest.fixture
def without_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "find_spec", lambda name: None)


def assert_harmless(found: Page) -> None:
    assert found.tags <= ALLOWED
    assert found.attributes <= {"lang", "charset", "name", "content", "class", "style"}
    assert found.comments == []


@pytest.mark.usefixtures("without_picture")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path, text: str) -> None:
    removed(tmp_path / "clean" / "ja", [row(text)])
    found = Page(write_report(tmp_path, {"ja": funnel()}))
    assert_harmless(found)
    shown = text.replace("\u0000", "\ufffd")
    assert any(" ".join(shown.split()) in cell.replace("\u0000", "\ufffd") for cell in found.cells)


@pytest.mark.usefixtures("without_picture")
@pytest.mark.parametrize("name", HOSTILE[:4])
def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path, name: str) -> None:
    removed(tmp_path / "clean" / "ja", [row("本文", rule=name)])
    found = Page(write_report(tmp_path, {"ja": funnel(name, (name,), name), name: funnel()}))
    assert_harmless(found)
    assert found.cells.count(name) == 3  # the heading of the language, the source and the rule
    assert f"Masked: {name} 3." in found.cells


def test_names_in_the_picture_do_nothing_either(tmp_path: Path) -> None:
    write_report(tmp_path, {"ja": funnel(HOSTILE[0]), "e<b>n": funnel(HOSTILE[3])})
    written = sorted(p.name for p in (tmp_path / "report").iterdir())
    assert written == ["funnel.json", *(["funnel.svg"] if find_spec("matplotlib") else []), "index.html"]
    for name in written[1:]:  # the picture, where it can be drawn, and the page it stands in
        content = (tmp_path / "report" / name).read_text(encoding="utf-8")
        assert [harmful for harmful in ("<script", "<iframe", "<b>n") if harmful in content] == []


@pytest.mark.usefixtures("without_picture")
def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    removed(tmp_path / "clean" / "ja", [row("本文です。")])
    content = write_report(tmp_path, {"ja": funnel()}).read_text(encoding="utf-8")
    for outside in ("<script", "<link", "<img", "url(", "@import", "src="):
        assert outside not in content


@pytest.mark.usefixtures("without_picture")
def test_a_rule_shows_three_documents_of_any_step(tmp_path: Path) -> None:
    removed(tmp_path / "clean" / "ja", [row(f"短い文{n}", number=n << 96) for n in range(5)], "a")
    removed(tmp_path / "clean" / "ja", [], "empty")
    removed(tmp_path / "dedup" / "ja", [row("同じ\n文" + "長" * 500, rule="near_duplicate")])
    found = Page(write_report(tmp_path, {"ja": funnel(rules=("too_short", "near_duplicate", "garbled"))}))
    [short] = [cell for cell in found.cells if "短い文" in cell]
    assert [f"短い文{n}" in short for n in range(5)] == [True, True, True, False, False]
    assert "00000001 (12.5) 短い文1" in short
    [near] = [cell for cell in found.cells if "同じ" in cell]
    assert near == "00000000 (12.5) 同じ 文" + "長" * 156


@pytest.mark.usefixtures("without_picture")
def test_rules_that_nothing_fails_are_left_out(tmp_path: Path) -> None:
    shown = funnel(rules=("too_short", "garbled"))
    shown["rules"]["garbled"] = {"dropped": 0, "failing": 0}
    cells = Page(write_report(tmp_path, {"ja": shown})).cells
    assert "too_short" in cells and "garbled" not in cells


@pytest.mark.usefixtures("without_picture")
def test_numbers_are_those_of_the_funnel(tmp_path: Path) -> None:
    cells = Page(write_report(tmp_path, {"ja": funnel()})).cells
    assert cells[:7] == ["ja", "mc4", "1,234", "1,233", "1", "0", "0"]
    assert {"read", "12,340", "37,020"} <= set(cells)
    written = orjson.loads((tmp_path / "report" / "funnel.json").read_bytes())
    assert written == {"languages": {"ja": funnel()}}


def test_the_same_corpus_gives_the_same_page(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        removed(tmp_path / name / "clean" / "ja", [row("本文です。")])
        write_report(tmp_path / name, {"ja": funnel(), "en": funnel("c4")})
        contents.append({p.name: p.read_bytes() for p in (tmp_path / name / "report").iterdir()})
    assert contents[0] == contents[1] and "index.html" in contents[0]


def test_an_empty_workspace_has_a_page_too(tmp_path: Path) -> None:
    nothing = {**dict.fromkeys(("in", "kept", "dropped", "duplicates", "quarantined"), 0), "steps": []}
    empty = {"total": nothing, "sources": {}, "rules": {}, "masked": {}}
    found = Page(write_report(tmp_path, {"ja": empty}))
    assert "Masked: nothing." in found.cells
