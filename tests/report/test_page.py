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
from corpuskit.report.samples import EXCERPT
from corpuskit.schema import DOCUMENT, REMOVED, VERDICT

HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "'\"><svg onload=alert(1)>",
    "--><!-- <iframe src='https://evil.example'></iframe>",
    "&lt;b&gt; & &amp; \u202e\u0000",
    "<a href='javascript:alert(1)'>日本</a>",
]
ALLOWED = {"html", "meta", "title", "style", "h1", "h2", "table", "tr", "th", "td", "span", "p"}
ALLOWED |= {"details", "summary", "ul", "li"}


def decided(workspace: Path, rows: list[dict[str, Any]], name: str = "s") -> None:
    """One decided shard of which these documents were removed."""
    clean, decide = workspace / "clean" / "ja", workspace / "decide" / "ja"
    for folder in (clean / "documents", decide / "verdicts"):
        folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, DOCUMENT), clean / "documents" / f"{name}.parquet")
    verdicts = pa.Table.from_pylist([{"severity": 1, **r} for r in rows], VERDICT)
    pq.write_table(verdicts, decide / "verdicts" / f"{name}.parquet")
    write_atomic(decide / "receipts" / f"{name}.json", Receipt("decide", 2, name, "k", [], {}, {}, {}).to_json())


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
        "rules": {rule: {"dropped": 1, "failing": 2, "only_failing": 1} for rule in rules},
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
        if tag in ("td", "h2", "p", "li"):
            self.cells.append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._svg -= tag == "svg"
        self._open = self._open and tag not in ("td", "h2", "p", "li")

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
    assert found.attributes <= {"lang", "charset", "name", "content", "class", "style", "colspan"}
    assert found.comments == []


@pytest.mark.usefixtures("without_picture")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path, text: str) -> None:
    decided(tmp_path, [row(text)])
    found = Page(write_report(tmp_path, {"ja": funnel()}))
    assert_harmless(found)
    shown = text.replace("\u0000", "\ufffd")
    assert any(" ".join(shown.split()) in cell.replace("\u0000", "\ufffd") for cell in found.cells)


@pytest.mark.usefixtures("without_picture")
@pytest.mark.parametrize("name", HOSTILE[:4])
def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path, name: str) -> None:
    decided(tmp_path, [row("本文", rule=name)])
    found = Page(write_report(tmp_path, {"ja": funnel(name, (name,), name), name: funnel()}))
    assert_harmless(found)
    assert found.cells.count(name) == 3  # the heading of the language, the source and the rule
    assert f"Masked: {name} 3." in found.cells


def test_names_in_the_picture_do_nothing_either(tmp_path: Path) -> None:
    write_report(tmp_path, {"ja": funnel(HOSTILE[0]), "e<b>n": funnel(HOSTILE[3])})
    written = sorted(p.name for p in (tmp_path / "report").iterdir())
    picture = ["funnel.svg"] if find_spec("matplotlib") else []
    assert written == ["funnel.json", *picture, "index.html", "samples.json"]
    for name in [*picture, "index.html"]:  # the picture, where it can be drawn, and the page it stands in
        content = (tmp_path / "report" / name).read_text(encoding="utf-8")
        assert [harmful for harmful in ("<script", "<iframe", "<b>n") if harmful in content] == []


@pytest.mark.usefixtures("without_picture")
def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    decided(tmp_path, [row("本文です。")])
    content = write_report(tmp_path, {"ja": funnel()}).read_text(encoding="utf-8")
    for outside in ("<script", "<link", "<img", "url(", "@import", "src="):
        assert outside not in content


@pytest.mark.usefixtures("without_picture")
def test_a_rule_shows_twenty_documents_of_each_severity_and_always_the_same(tmp_path: Path) -> None:
    rows = [{**row(f"短い文{n}", number=n << 96), "severity": 1 + (n >= 30)} for n in range(45)]
    decided(tmp_path / "one", rows[:25], "a")
    decided(tmp_path / "one", [], "empty")
    decided(tmp_path / "one", rows[25:], "b")
    decided(tmp_path / "other", rows[::-1], "c")  # however the documents are cut into shards
    shown = []
    for name in ("one", "other"):
        page = write_report(tmp_path / name, {"ja": funnel()})
        cells = [cell for cell in Page(page).cells if "短い文" in cell]
        severe = [cell for cell in cells if int(cell.split("短い文")[1]) >= 30]
        assert (len(cells) - len(severe), len(severe)) == (20, 15)
        text = page.read_text(encoding="utf-8")
        assert [f"severity {n} ({count})" in text for n, count in ((1, 20), (2, 15))] == [True, True]
        shown.append(sorted(cells))
    assert shown[0] == shown[1]
    assert "0000001f (12.5) 短い文31" in shown[0]
    listed = orjson.loads((tmp_path / "one" / "report" / "samples.json").read_bytes())["ja"]["too_short"]
    assert len(listed) == 35
    assert {"rule": "too_short", "severity": 2, "id": rows[31]["id"], "value": 12.5, "excerpt": "短い文31"} in listed


@pytest.mark.usefixtures("without_picture")
def test_duplicates_are_shown_as_well_and_excerpts_are_short_and_masked(tmp_path: Path) -> None:
    text = "連絡先は taro@example.co.jp です。\n" + "長" * 500
    removed(tmp_path / "dedup" / "ja", [row(text, rule="near_duplicate")])
    [near] = [c for c in Page(write_report(tmp_path, {"ja": funnel(rules=("near_duplicate",))})).cells if "長" in c]
    assert near == "00000000 (12.5) 連絡先は <EMAIL> です。 " + "長" * (EXCERPT - 17)


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
        decided(tmp_path / name, [row("本文です。")])
        write_report(tmp_path / name, {"ja": funnel(), "en": funnel("c4")})
        contents.append({p.name: p.read_bytes() for p in (tmp_path / name / "report").iterdir()})
    assert contents[0] == contents[1] and "index.html" in contents[0]


def test_an_empty_workspace_has_a_page_too(tmp_path: Path) -> None:
    nothing = {**dict.fromkeys(("in", "kept", "dropped", "duplicates", "quarantined"), 0), "steps": []}
    empty = {"total": nothing, "sources": {}, "rules": {}, "masked": {}}
    found = Page(write_report(tmp_path, {"ja": empty}))
    assert "Masked: nothing." in found.cells
