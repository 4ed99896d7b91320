"""Aozora Bunko: whole files in its format, and what must come out of them."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from corpuskit.engine.plan import Input
from corpuskit.sources.aozora import gaiji, parse, read_aozora
from corpuskit.sources.record import Quarantine, Record

WORK = """猫の日記
――ある夏の記録――
山田花子
鈴木一郎訳

-------------------------------------------------------
【テキスト中に現れる記号について】

《》：ルビ
（例）吾輩《わがはい》は猫である

｜：ルビの付く文字列の始まりを特定する記号
（例）一番｜獰悪《どうあく》な種族

［＃］：入力者注　主に外字の説明や、傍点の位置の指定
（例）※［＃「言＋墟のつくり」、第4水準2-88-74］

／＼：二倍の踊り字（「く」を縦に長くしたような形の繰り返し記号）
＊濁点付きの二倍の踊り字は「／″＼」
-------------------------------------------------------

［＃８字下げ］一［＃「一」は中見出し］

　吾輩《わがはい》は猫である。一番｜獰悪《どうあく》な種族《しゅぞく》［＃「種族」に傍点］だ。
　いろ／＼、さま／″＼、ぽつりと｜言う。
［＃改ページ］
　※［＃「口＋世」、U+546D、12-3］《かん》と※［＃「言＋墟のつくり」、第4水準2-88-74］と※［＃「なぞの字」、12-3］。
　※［＃始め二重山括弧、1-1-52］引用※［＃終わり二重山括弧、1-1-53］《いんよう》、〔e'tude〕、※［＃丸1、1-13-1］。
　終わり［＃「※［＃「口＋世」、U+546D］」に傍点］。
［＃地から２字上げ］（昭和三年）



底本：「猫の本」文庫
　　　1987（昭和62）年9月29日第1刷発行
初出：「雑誌」
　　　1928（昭和3）年4月
入力：入力太郎
校正：校正次郎
1999年9月17日公開
2018年2月5日修正
青空文庫作成ファイル：
このファイルは、インターネットの図書館、青空文庫（http://www.aozora.gr.jp/）で作られました。
"""

TEXT = """一

　吾輩は猫である。一番獰悪な種族だ。
　いろ〱、さま〲、ぽつりと｜言う。
　呭と譃と〓。
　《引用》、〔e'tude〕、①。
　終わり。
（昭和三年）"""

FIELDS = {
    "title": "猫の日記",
    "subtitle": "――ある夏の記録――",
    "author": "山田花子",
    "translator": "鈴木一郎訳",
    "source_book": "「猫の本」文庫",
    "first_published": "「雑誌」",
    "input_by": "入力太郎",
    "proofread_by": "校正次郎",
    "published": "1999-09-17",
    "num_ruby": 5,
    "num_unresolved_gaiji": 1,
}


def test_a_whole_work() -> None:
    text, fields = parse(WORK)
    assert text == TEXT
    assert fields.pop("colophon") == WORK[WORK.index("底本：「") :].strip()
    assert fields == FIELDS


def read(path: Path) -> tuple[list[Record], list[str]]:
    errors: list[str] = []

    class Listed(Quarantine):
        def add(self, file: str, record: int, error: str, excerpt: bytes | str = b"") -> None:
            errors.append(f"{record}: {error}")

    return list(read_aozora(Input(str(path), path.name, "", 0), {"lang": "ja"}, Listed(path.parent))), errors


@pytest.mark.parametrize("codec", ["cp932", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("kind", ["txt", "zip", "txt.gz"])
def test_every_wrapping_and_charset_gives_the_same(tmp_path: Path, codec: str, kind: str) -> None:
    raw = WORK.replace("\n", "\r\n").encode(codec)
    path = tmp_path / f"neko.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("fig.png", b"\x89PNG")
            archive.writestr("neko.txt", raw)
    else:
        path.write_bytes(gzip.compress(raw) if kind == "txt.gz" else raw)
    (record,), errors = read(path)
    assert errors == []
    assert (record.number, record.text) == (0, TEXT)
    assert record.fields is not None
    assert record.fields["charset"] == codec.removesuffix("-sig")
    assert {k: record.fields[k] for k in FIELDS} == FIELDS


def test_a_text_without_legend_and_colophon() -> None:
    assert parse("題\n著者\n\n　本文｜だ《よ》。\n\n\n　《山》／＼\n") == (
        "　本文だ。\n\n\n　《山》／＼",  # a 《 that nothing stands before is no reading, ／＼ not explained is no sign
        {"title": "題", "author": "著者", "num_ruby": 1, "num_unresolved_gaiji": 0},
    )


def test_a_text_without_header() -> None:
    assert parse("ただの一行。")[0] == "ただの一行。"
    assert parse("") == ("", {"num_ruby": 0, "num_unresolved_gaiji": 0})


@pytest.mark.parametrize(
    ("note", "character"),
    [
        ("「言＋墟のつくり」、第4水準2-88-74", "譃"),
        ("「泥／土」、第3水準1-15-53、12-3", "埿"),
        ("小書き片仮名ト、1-6-81", "ㇳ"),
        ("ローマ数字1、1-13-21", "Ⅰ"),
        ("感嘆符疑問符、1-8-78", "⁉"),
        ("半濁点付き平仮名か、1-4-87", "か゚"),
        ("「火＋發」、U+243CB、125-上-3", "𤏋"),
        ("「なぞ」、12-3", None),
        ("第3水準1-99-99", None),
        ("U+D800", None),
        ("U+FFFFFF", None),
    ],
)
def test_gaiji(note: str, character: str | None) -> None:
    assert gaiji(note) == character


def test_a_damaged_zip_is_one_quarantine_entry(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", WORK.encode("cp932"))
        archive.writestr("b.txt", WORK.encode("cp932"))
    raw = bytearray(buffer.getvalue())
    raw[200] ^= 0xFF  # inside a.txt
    path = tmp_path / "two.zip"
    path.write_bytes(bytes(raw))
    records, errors = read(path)
    assert [r.number for r in records] == [1]
    assert len(errors) == 1 and errors[0].startswith("0: a.txt: cannot be unpacked")
    path.write_bytes(bytes(raw[:300]))
    records, errors = read(path)
    assert records == [] and len(errors) == 1 and errors[0].startswith("0: a damaged zip")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"\0" * (70 << 20))
    assert read(path) == ([], ["0: a.txt: a text longer than 67108864 bytes"])
