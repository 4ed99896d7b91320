"""What is personal information and what only looks like it; offsets, idempotence, hostile texts, the gate."""

from __future__ import annotations

import itertools
import time

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpuskit.privacy.detect import Finding, _search, find, mask
from corpuskit.privacy.patterns import TYPES
from corpuskit.text.shadow import shadow_column

# Text, and what of it must be masked. Numbers are fictional: exchange digits all zero, or the probes of the study.
PHONES = {
    # the ten probes of section 10.1 and the three of the peers' comparison that are numbers
    "03-1234-5678": ["03-1234-5678"],
    "03(1234)5678": ["03(1234)5678"],
    "０３－１２３４－５６７８": ["０３－１２３４－５６７８"],
    "090ー1234ー5678": ["090ー1234ー5678"],
    "0120-123-456": ["0120-123-456"],
    "0800-123-4567": ["0800-123-4567"],
    "0570-012-345": ["0570-012-345"],
    "東京03-1234-5678": ["03-1234-5678"],
    "+81-3-1234-5678": ["+81-3-1234-5678"],
    # the four shapes of a geographic number, and old or merged area codes
    "本社は045-000-1234です": ["045-000-1234"],
    "0465-00-1234まで": ["0465-00-1234"],
    "01267-0-1234": ["01267-0-1234"],
    "旧番号0482-51-1234": ["0482-51-1234"],
    "06-0000-1234、06-0000-5678": ["06-0000-1234", "06-0000-5678"],
    # brackets
    "（03）0000-1234": ["（03）0000-1234"],
    "(03) 0000-1234": ["(03) 0000-1234"],
    "０３（００００）１２３４": ["０３（００００）１２３４"],
    "0465(00)1234": ["0465(00)1234"],
    "(0465)00-1234": ["(0465)00-1234"],
    "受付（03-0000-1234）": ["03-0000-1234"],
    "(090)0000-1234": ["(090)0000-1234"],
    "0120(000)123": ["0120(000)123"],
    # hyphens that are none
    "03‐0000‐1234": ["03‐0000‐1234"],
    "03‑0000‑1234": ["03‑0000‑1234"],
    "03–0000–1234": ["03–0000–1234"],
    "03—0000—1234": ["03—0000—1234"],
    "03―0000―1234": ["03―0000―1234"],
    "03−0000−1234": ["03−0000−1234"],
    "０９０ｰ００００ｰ１２３４": ["０９０ｰ００００ｰ１２３４"],
    "03 - 0000 - 1234": ["03 - 0000 - 1234"],
    "090 0000 1234": ["090 0000 1234"],
    "090　0000　1234": ["090　0000　1234"],
    # mobile, IP, toll-free
    "070-0000-1234": ["070-0000-1234"],
    "080-0000-1234": ["080-0000-1234"],
    "060-0000-1234": ["060-0000-1234"],
    "050-0000-1234": ["050-0000-1234"],
    "020-0000-1234": ["020-0000-1234"],
    "0120-00-1234": ["0120-00-1234"],
    "0120-001234": ["0120-001234"],
    "0990-000-123": ["0990-000-123"],
    # international
    "+81 3 0000 1234": ["+81 3 0000 1234"],
    "+81-90-0000-1234": ["+81-90-0000-1234"],
    "+81 (0)90-0000-1234": ["+81 (0)90-0000-1234"],
    "(+81) 3-0000-1234": ["(+81) 3-0000-1234"],
    "+819000001234": ["+819000001234"],
    "＋８１－３－００００－１２３４": ["＋８１－３－００００－１２３４"],
    "0081-3-0000-1234": ["0081-3-0000-1234"],
    # bare
    "09000001234": ["09000001234"],
    "私の番号は０８０００００１２３４です。": ["０８０００００１２３４"],
    "電話:0300001234": ["0300001234"],
    "お電話番号は0300001234です": ["0300001234"],
    "TEL 0300001234": ["0300001234"],
    "℡0300001234": ["0300001234"],
    "☎0300001234": ["0300001234"],
    "FAX：0450001234": ["0450001234"],
    "携帯 02000001234": ["02000001234"],
    "フリーダイヤル0120000123": ["0120000123"],
    "TEL 03 0000 1234": ["03 0000 1234"],
    "電話 0999-00-1234": ["0999-00-1234"],
    # neighbours
    "TEL03-0000-1234FAX03-0000-5678": ["03-0000-1234", "03-0000-5678"],
    "TEL-03-0000-1234": ["03-0000-1234"],
    "Tel.03-0000-1234": ["03-0000-1234"],
    "03-0000-1234(代)": ["03-0000-1234"],
    "03-0000-1234〜9": ["03-0000-1234"],
    "03-0000-1234。": ["03-0000-1234"],
    "1,佐藤,03-0000-1234,東京": ["03-0000-1234"],
    "電話03-0000-1234 9:00-17:00": ["03-0000-1234"],
}

NO_PHONES = [
    "2024-10-16 12:34:56",
    "JAN4901234567894",
    "注文番号 202610160001",
    "0012345678",
    "0300001234",  # ten bare digits without a label
    "〒100-0001",
    "〒060-0001 札幌市",
    "12,000円",
    "￥03,000,123,456",
    "ISBN978-4-00-310101-8",
    "ISBN 0786705205",
    "ISSN 0387-1234",
    "192.168.010.001",
    "10-20",
    "0120-123",
    "AB-0120-123",
    "AB-0120-123-456",
    "A03-0000-1234",
    "123-03-0000-1234",
    "03-0000-12345",
    "003-0000-1234",
    "03-0000-1234-5678",
    "110",
    "119番",
    "117",
    "3.0900000123",
    "0.09000001234",
    "v0.3.0000.1234",
    "001-002-003",
    "000-0000-0000",
    "012-345-6789",  # 012 is no area code
    "2024/01/02 03:04:05",
    "注文番号 09000001234",
    "シリアル: 09000001234",
    "IMG_09000001234.jpg",
    "hash=a09000001234f",
    "uuid 83E46F5E-8E08-4983-8776-13D6A8F00000",
    "uuid 574F1B75-0772-4456-9836-D64166D00000",
    "HOTEL 0300001234",
    "telefon: 0729474785",
    "受付番号0300001234",
    "電話で聞いた受付番号0300001234",
    "10000-20000-0300",
    "00000000000000000000",
    "１９８４年０３月０１日",
    "500,000-800,000",
    "0x03-0000-1234",
]

EMAILS = {
    "info@example.jp": ["info@example.jp"],
    "連絡先はinfo@example.co.jpまで": ["info@example.co.jp"],
    "ｉｎｆｏ＠ｅｘａｍｐｌｅ．ｊｐ": ["ｉｎｆｏ＠ｅｘａｍｐｌｅ．ｊｐ"],
    "info＠example.jp": ["info＠example.jp"],
    "taro.yamada+news@mail.example.net": ["taro.yamada+news@mail.example.net"],
    "taro..yamada.@example.jp": ["taro..yamada.@example.jp"],  # old mobile carriers allowed such
    "name (at) example.jp": ["name (at) example.jp"],
    "name[at]example.jp": ["name[at]example.jp"],
    "name［at］example.jp": ["name［at］example.jp"],
    "name（ＡＴ）example.jp": ["name（ＡＴ）example.jp"],
    "name【at】example.jp": ["name【at】example.jp"],
    "nameアットマークexample.jp": ["nameアットマークexample.jp"],
    "name ｱｯﾄﾏｰｸ example.jp": ["name ｱｯﾄﾏｰｸ example.jp"],
    "name(アットマーク)example.jp": ["name(アットマーク)example.jp"],
    "name(@)example.jp": ["name(@)example.jp"],
    "name [at] example [dot] co [dot] jp": ["name [at] example [dot] co [dot] jp"],
    "<info@example.jp>": ["info@example.jp"],
    "mailto:info@example.jp?subject=a": ["info@example.jp"],
    "Write to info@example.com.": ["info@example.com"],
    "info@example.jpTEL03-0000-1234": ["info@example.jp", "03-0000-1234"],
    "info@example.jp03-0000-1234": ["info@example.jp", "03-0000-1234"],
    "090-0000-1234@example.ne.jp": ["090-0000-1234@example.ne.jp"],
    "a@example.jp,b@example.jp": ["a@example.jp", "b@example.jp"],
    "taro@host.example.jp:/home/taro": ["taro@host.example.jp"],
    "git@example.jp": ["git@example.jp"],
    "info@163.example.com": ["info@163.example.com"],
}

NO_EMAILS = [
    "@example",
    "@example.jp",
    "foo@",
    "user@localhost",
    "@app.route('/')",
    "@scope/name",
    "npm i @scope/name@1.2.3",
    "lodash@4.17.21",
    "react@18.2.0-rc.beta",
    "foo@2x.png",
    "icon@3x.example.png",
    "bg@1.5x.webp",
    "git@github.com:user/repo.git",
    "ssh://git@example.com/user/repo.git",
    "a @ b.c",
    "info @ example.jp",
    "5個@100円",
    "x@y.T",
    "%22@mozilla.org/alerts",
    "image@sha256:0123456789abcdef",
    "会場@東京.jp",
    "地図 @35.681236,139.767125",
    "アットマークの読み方",
    "at example.jp",
    "foo(at)bar",
    "foo@example.1",
]


def found(text: str, types: tuple[str, ...] = TYPES) -> list[str]:
    return [text[f.start : f.end] for f in find(pa.array([text], pa.string()), types)]


@pytest.mark.parametrize(("text", "expected"), [*PHONES.items(), *EMAILS.items()])
def test_is_found(text: str, expected: list[str]) -> None:
    assert found(text) == expected
    # the same inside running text, where kana and kanji are word characters and give no \b
    assert found(f"お問い合わせは{text}へどうぞ") == expected


@pytest.mark.parametrize("text", [*NO_PHONES, *NO_EMAILS])
def test_is_left_alone(text: str) -> None:
    assert found(text) == []
    assert found(f"これは、{text}、です。") == []


def test_the_token_says_the_type() -> None:
    texts = pa.array(["電話は03-0000-1234、メールはinfo＠example.jpです。", "なし", ""])
    findings = find(texts, TYPES)
    assert findings == [Finding(0, "phone_jp", 3, 15), Finding(0, "email", 20, 35)]
    assert mask(texts, findings).to_pylist() == ["電話は<PHONE>、メールは<EMAIL>です。", "なし", ""]


def test_only_the_types_asked_for() -> None:
    text = "info@example.jp 03-0000-1234"
    assert found(text, ("email",)) == ["info@example.jp"]
    assert found(text, ("phone_jp",)) == ["03-0000-1234"]
    assert found(text, ()) == []
    with pytest.raises(ValueError, match="my_number"):
        found(text, ("my_number",))


def test_a_sliced_and_an_empty_column() -> None:
    texts = pa.array(["あ", "い info@example.jp", "う"])
    assert find(texts.slice(1, 1), TYPES) == [Finding(0, "email", 2, 17)]
    assert find(texts.slice(1, 0), TYPES) == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize(
    "text", ["03-0000|-1234", "03|-0000-1234", "0900000|1234", "info@|example.jp", "電話|0300001234"]
)
def test_nothing_is_found_across_a_line_end(text: str, end: str) -> None:
    assert found(text.replace("|", end)) == []


def test_an_expanding_character_is_not_cut() -> None:
    # ⑽ is (10) in the shadow, ㏂ is a.m.: offsets count characters of the stored text
    assert found("⑽㏂TEL：03-0000-1234㈱") == ["03-0000-1234"]
    assert found("info@example.㏅") in ([], ["info@example.㏅"])


@pytest.mark.parametrize(
    "text",
    [
        "0123456789" * 100_000,
        "@" * 1_000_000,
        "0-" * 500_000,
        "a@" * 500_000,
        "a@b." * 250_000,
        "a." * 500_000 + "@",
        "0120-" * 200_000,
        "+81-" * 250_000,
        "+81 03-0000-1234" * 62_500,
        "a@example.jp" * 80_000,
        "a@example.jp " * 80_000,
        "03-0000-1234 " * 80_000,
        "TEL0300001234 " * 70_000,
        "(" * 1_000_000,
        "(0" * 500_000,
        "a(at)" * 200_000,
        "a (at) b (dot) " * 70_000,
        "電話" * 500_000,
        "09000001234" * 90_000,
    ],
    ids=lambda text: text[:16],
)
def test_time_is_linear_on_hostile_texts(text: str) -> None:
    quarter, whole = (_seconds(pa.array([t])) for t in (text[: len(text) // 4], text))
    assert whole < 10 * quarter + 1  # quadratic would be 16 times, and hours


def _seconds(texts: pa.Array) -> float:
    start = time.process_time()
    assert find(mask(texts, find(texts, TYPES)), TYPES) == []
    return time.process_time() - start


# --- properties ----------------------------------------------------------------------------------------------------

WIDE = {chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)}


@settings(deadline=None)
@given(
    st.sampled_from([t for t, hits in [*PHONES.items(), *EMAILS.items()] if hits == [t] and t.isascii()]),
    st.lists(st.booleans(), min_size=40, max_size=40),
    st.text(alphabet="あ漢ア、。㍻⑩\n😀", max_size=12),
    st.text(alphabet="あ漢ア、。\n😀", max_size=12),
)
def test_offsets_map_back(value: str, wide: list[bool], before: str, after: str) -> None:
    written = "".join(WIDE.get(c, c) if w else c for c, w in zip(value, wide, strict=False))
    assert found(before + "、" + written + "、" + after) == [written]


fragments = st.lists(
    st.sampled_from(
        [
            *(*"0123456789", *"@.+-()ー−<> #%/_,", *"abTEL電話はに", "\n", "03", "090", "0120", "+81", "0000", "1234"),
            *("example.jp", "info", "info@example.jp", "03-0000-1234", "09000001234", "(at)", "アットマーク"),
            *("TEL", "Fax:", "電話", "注文番号", "git@", ".png", "⑽", "㏂", "：", "＠", "０", "<PHONE>", "<EMAIL>"),
            *(" [dot] ", "(03)", "00", "0300001234", "0081", "0800"),
        ]
    ),
    max_size=40,
).map("".join)


@settings(max_examples=1000, deadline=None)
@given(st.lists(fragments, min_size=1, max_size=3), st.sampled_from([TYPES, ("email",), ("phone_jp",)]))
@example(["TEL 0300001234<0300001234"], TYPES)
@example(["03-0000-1234-(03)0000-1234-(03)0000-1234"], TYPES)
def test_masking_is_idempotent_and_the_gate_loses_nothing(rows: list[str], types: tuple[str, ...]) -> None:
    texts = pa.array(rows, pa.string())
    findings = find(texts, types)
    assert findings == sorted(findings, key=lambda f: (f.row, f.start))
    assert all(a.end <= b.start for a, b in itertools.pairwise(findings) if a.row == b.row)
    assert find(mask(texts, findings), types) == []

    shadow = shadow_column(texts)
    whole = []
    for row in range(len(rows)):
        low, high = int(shadow.offsets[row]), int(shadow.offsets[row + 1])
        whole += _search(shadow, row, low, high, low, types)
    assert findings == whole
