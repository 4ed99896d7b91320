"""Wikitext in, text out: every rule of sources/wikitext.py on a literal page, in Japanese and where English differs."""

from __future__ import annotations

import bz2
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from corpuskit.sources.wikitext import is_disambiguation, is_redirect, wikitext_to_text

DUMPS = Path(__file__).resolve().parents[3] / "shared" / "data" / "dumps.wikimedia.org"

RULES = {
    # paragraphs, headings, lists
    "paragraphs are parted by one blank line": ("一。\n\n\n\n二。", "一。\n\n二。"),
    "a line end inside a paragraph stays": ("一。\n二。", "一。\n二。"),
    "a heading is a block of its own": ("前。\n== 歴史 ==\n後。", "前。\n\n歴史\n\n後。"),
    "a heading holds plain words": ("=== '''[[江戸時代|江戸]]'''の{{lang|en|tea}} ===\n茶。", "江戸のtea\n\n茶。"),
    "a heading may hold a template": ("==={{anchor|X}} 種類===\n三つ。", "種類\n\n三つ。"),
    "bullets and numbers become list lines": ("* 一\n** 二\n# 三\n*# 四\n:* 五", "- 一\n- 二\n- 三\n- 四\n- 五"),
    "a continued list item is a plain line": ("* 一\n*: 続き", "- 一\n続き"),
    "an indented line is a plain line": ("文。\n:: 字下げ", "文。\n字下げ"),
    "definition lists become plain lines": ("; 米味噌\n: 米麹。\n; 麦 : 麦麹。", "米味噌\n米麹。\n麦\n麦麹。"),
    "an empty list item goes": ("* 一\n* {{JPN}}\n* 二", "- 一\n- 二"),
    "a rule goes": ("一。\n----\n二。", "一。\n\n二。"),
    "HTML lists become list lines": ("<ul>\n<li>一</li>\n<li>二\n</ul>", "- 一\n- 二"),
    # quotes
    "bold and italic marks go": ("'''太字'''と''斜体''と'''''両方'''''", "太字と斜体と両方"),
    "an apostrophe after italics stays": ("''Macbeth'''s end and ''a'' '''b'''", "Macbeth's end and a b"),
    # links
    "a link is its label": ("[[日本]]の[[東京都|東京]]", "日本の東京"),
    "a link with a suffix": ("two [[cat]]s, [[dog (animal)|dog]]s", "two cats, dogs"),
    "a section link": ("[[茶#歴史|歴史]]", "歴史"),
    "a link over templates": ("{{仮リンク|[[茶の本|本]]|en|The Book of Tea}}", "本"),
    "a file goes, links in its caption too": (
        "前。[[ファイル:Tea.jpg|thumb|200px|[[茶]]を入れる[[急須|きゅうす]]。[http://x.jp 出典]]]後。",
        "前。後。",
    ),
    "File, Image, 画像": ("[[File:a.jpg]]一[[image:b.png|left]]二[[画像:c.png|[[d]]]]三", "一二三"),
    "a caption over several lines": ("[[File:a.jpg|thumb|one\ntwo [[three]]]]\nText.", "Text."),
    "categories go": ("文。\n[[Category:茶|*]]\n[[カテゴリ:飲料]]", "文。"),
    "a link to a category stays": ("[[:Category:茶|茶の記事]]と[[:Category:水]]", "茶の記事とCategory:水"),
    "interlanguage links go": ("文。\n[[en:Tea]]\n[[zh-min-nan:Tê]]", "文。"),
    "a visible link abroad keeps its words": (
        "[[:en:Green tea|緑茶]]、[[:en:Oolong]]、[[wikt:茶]]",
        "緑茶、Oolong、茶",
    ),
    "a title with a colon stays": ("[[2001: A Space Odyssey]]", "2001: A Space Odyssey"),
    "external links are their label": ("[http://x.jp/a?b=c 公式サイト]と[https://y.jp]。", "公式サイトと。"),
    "brackets that are no link stay": ("a[i] = [1, 2]", "a[i] = [1, 2]"),
    # templates
    "templates go": (
        "{{基礎情報 国\n|国名 = 日本\n|画像 = [[ファイル:a.svg|[[b]]]]\n|面積 = {{convert|3|km2}}\n}}\n文。",
        "文。",
    ),
    "hatnotes go": ("{{Main|茶の歴史}}\n文{{要出典|date=2012年3月}}。", "文。"),
    "lang": ("{{lang|en|tea}}と{{Lang-fr|thé}}と{{lang-en-short|tea}}", "teaとthéとtea"),
    "仮リンク": ("{{仮リンク|茶の本|en|The Book of Tea}}と{{仮リンク|A|en|B|label=あ}}", "茶の本とあ"),
    "a reading follows in brackets": (
        "{{ruby|漢字|かんじ}}、{{読み仮名|梅雨|つゆ}}、{{ルビ|茶|ちゃ}}",
        "漢字（かんじ）、梅雨（つゆ）、茶（ちゃ）",
    ),
    "transl takes the last": ("{{transl|ar|DIN|Ǧumhūrīyah}}, {{transl|ru|Moskva}}", "Ǧumhūrīyah, Moskva"),
    "looks": ("{{nowrap|一 二}}{{small|小}}{{abbr|国連|国際連合}}{{color|red|赤}}{{日本語|茶}}", "一 二小国連赤茶"),
    "円": ("{{円|500}}", "500円"),
    "doubted words stay": ("{{要出典範囲|国境の紛争|date=2014年10月}}があった", "国境の紛争があった"),
    "convert": (
        "{{convert|10|km}}, {{convert|1|to|2|mi|km|abbr=on}}, {{cvt|5|ft|6|in|m}}",
        "10 km, 1 to 2 mi, 5 ft 6 in",
    ),
    "convert in a range": ("{{convert|3|-|4|m|ft}} and {{convert|70|mm|in|1}}", "3–4 m and 70 mm"),
    "fractions, formulas": ("{{frac|1|2}} {{frac|3}} {{frac|2|1|2}} {{chem|H|2|O}}", "1/2 1/3 2 1/2 H2O"),
    "nihongo": ("{{nihongo|'''Aikido'''|合気道|Aikidō|lead=yes}}", "Aikido (合気道, Aikidō)"),
    "as of": ("{{As of|2011}}, and {{as of|2014|lc=y}}", "As of 2011, and as of 2014"),
    "interlanguage link": ("{{ill|Tea house|ja|茶屋}} {{ill|A|de|B|lt=C}}", "Tea house C"),
    "characters": ("a{{!}}b{{=}}c{{ndash}}d{{'}}s", "a|b=c–d's"),
    "inline inside inline": ("{{ruby|{{lang|pl|Rzeczpospolita}}|{{small|ジェチュ}}}}", "Rzeczpospolita（ジェチュ）"),
    "unnamed parameters may be numbered": ("{{lang|1=en|2=tea}} {{nowrap|1=a=b}}", "tea a=b"),
    "quotations stand alone": ("彼は言う。{{Quote|茶を。|利休}}以上。", "彼は言う。\n茶を。\n以上。"),
    "template parameters": ("{{{1|茶}}}と{{{2}}}", "茶と"),
    # tables
    "tables go": ('前。\n{| class="wikitable"\n|-\n! a !! b\n|-\n| c || {{lang|en|d}}\n|}\n後。', "前。\n\n後。"),
    "nested tables go": ("前。\n{|\n| a\n{|\n| b\n|}\n| c\n|}\n後。", "前。\n\n後。"),
    "a template closing with a pipe is no table end": ("{{Infobox\n|a=\n|}}文。", "文。"),
    # tags
    "references go": (
        '茶<ref>{{Cite book|title=茶}}</ref>は<ref name="a" />旨い<ref name=b/>。<REF>x</REF>',
        "茶は旨い。",
    ),
    "an open reference stops at the next one": ('一<ref name="a">二<ref>三</ref>四', "一二四"),
    "a reference at the start of a line": ("旨い\n<ref>a</ref>。\n次。", "旨い。\n次。"),
    "tags with contents go": (
        "a<math>x^2</math>b<gallery>\nFile:a.jpg|茶\n</gallery>c<timeline>t</timeline>d"
        "<syntaxhighlight lang=c>int</syntaxhighlight>e",
        "abcde",
    ),
    "inline tags leave what they hold": (
        "H<sub>2</sub>O x<sup>2</sup> <small>小</small><span style='a'>字</span>",
        "H2O x2 小字",
    ),
    "br ends a line": ("一<br>二<br />三<BR clear=all>四", "一\n二\n三\n四"),
    "ruby keeps its base": ("<ruby><rb>漢字</rb><rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby>", "漢字"),
    "an unknown tag is text": ("List<String> と <pfann> と 1 < 2", "List<String> と <pfann> と 1 < 2"),
    "comments go": ("一<!-- [[二]] -->三\n<!-- 行 -->\n四<!---->五", "一三\n四五"),
    "the last comment goes with its line": ("一\n <!-- a --> <!-- b -->\t\n二\n<!-- c -->\n三", "一\n二\n三"),
    "a comment beside words leaves its line": ("一\n<!-- a -->二\n三<!-- b -->\n四", "一\n二\n三\n四"),
    "a list keeps its blank where a flag went": (
        "* {{Flagicon|JPN}} 日本\n* {{JPN}} {{USA}} 山手線\n* {{POR}} Lisbon {{x}} {{y}}, end",
        "- 日本\n- 山手線\n- Lisbon, end",
    ),
    "nothing left of a piece": ("文、「{{x}}」{{y}}。{{x}}\n{{y}}。A 「{{x}}」{{y}}, b", "文。A, b"),
    "an empty label behind a bar": ("[[茶{{!}}]]", "茶"),
    "an empty comment that does not end": ("茶<!-->湯\n\n飯", "茶\n\n飯"),
    "a link in brackets": ("[[[茶の湯|茶]]]と[[[湯]]]", "[茶]と[湯]"),
    "a bar written as a template": ("[[茶の湯{{!}}茶]]と[[File:a.jpg{{!}}thumb]]湯", "茶と湯"),
    "quotation marks in quotation marks": ("文『「{{x}}」』。“{{y}}”文", "文。文"),
    "nowiki keeps its contents": (
        "<nowiki>[[二重]]{{角}}''括弧'' <b></nowiki>と<nowiki />",
        "[[二重]]{{角}}''括弧'' <b>と",
    ),
    "magic words go": ("__NOTOC__\n文。__目次強制__ __init__", "文。 __init__"),
    "entities are decoded last": (
        "A&nbsp;&amp;&#x3042;&lt;b&gt; AT&T &lt;ref&gt;x&lt;/ref&gt;",
        "A &あ<b> AT&T <ref>x</ref>",
    ),
    # sections
    "sections without prose go": (
        "文。\n== 歴史 ==\n史。\n== 脚注 ==\n{{Reflist}}\n=== 注釈 ===\n* 注\n== 評価 ==\n評。\n"
        "==関連項目==\n* [[茶]]\n== 外部リンク ==\n* [http://x]\n",
        "文。\n\n歴史\n\n史。\n\n評価\n\n評。",
    ),
    "a title made of several": (
        "文。\n== 注釈・出典 ==\n* a\n==出典及び脚注==\n* b\n== 出典の研究 ==\n論。",
        "文。\n\n出典の研究\n\n論。",
    ),
    "English sections": (
        "T.\n== Notes and references ==\n{{reflist}}\n==See also==\n* [[x]]\n"
        "== Notes on style ==\nS.\n== External links ==\n* y",
        "T.\n\nNotes on style\n\nS.",
    ),
    "a dropped subsection ends at its own level": ("== A ==\na\n=== 出典 ===\nb\n=== C ===\nc", "A\n\na\n\nC\n\nc"),
    "headings without a body go": ("== A ==\n{{Main|x}}\n== B ==\n=== C ===\nc\n== D ==\n", "B\n\nC\n\nc"),
    # what removal leaves
    "emptied brackets go": ("茶（{{IPA-fr|a}}、{{Audio|a.ogg|b}}）は「{{音|x}}」旨い({{x}})。", "茶は旨い。"),
    "an emptied part of a bracket goes": (
        "茶（{{Audio|x}}、ちゃ、英: {{IPA-en|x}}）と(a, {{x}}; b)",
        "茶（ちゃ）と(a; b)",
    ),
    "an emptied bracket in a bracket goes": ("茶（ちゃ（{{x}}）、{{y}}）", "茶（ちゃ）"),
    "English brackets": ("Tea ({{IPAc-en|t|iː}}; pronounced {{respell|TEE}}, {{lang-zh|茶}}) is", "Tea (茶) is"),
    "a list after a template": ("{{Main|x}}* 一\n{{BAN}} :二", "- 一\n二"),
    "a line cannot begin with 、": ("暗殺されたが\n、弟は", "暗殺されたが、弟は"),
    "a formula after a heading": ("== A ==\n<math>x</math>, which", "A\n\n, which"),
    "space before punctuation": ("a {{citation needed}}, b {{x}} c {{y}}.", "a, b c."),
    "doubled punctuation": ("一。{{x}}。二、{{y}}。", "一。二。"),
    "brackets nobody emptied stay": ("main() と f( ) と「」と（、）", "main() と f( ) と「」と（、）"),
    # damaged pages
    "an open template loses its line": (
        "一。{{Infobox 茶\n|名 = 茶\n二。\n== 三 ==\n四{{lang|en|x}}。",
        "一。\n二。\n\n三\n\n四x。",
    ),
    "a stray end of a template goes": ("一}}二。", "一二。"),
    "an open table loses its table lines": (
        "一。\n{| class=x\n! a\n|-\n| b\n二。\n== 三 ==\n四。",
        "一。\n二。\n\n三\n\n四。",
    ),
    "an open link": ("[[東京の[[茶]]店", "東京の茶店"),
    "an open file loses its line": ("[[ファイル:a.jpg|thumb|[[茶\n二。", "二。"),
    "an open comment loses its paragraph": ("一。<!-- 二\n三\n\n四。", "一。\n\n四。"),
    "an open math is text": ("<math>x\n\n茶。", "x\n\n茶。"),
}


@pytest.mark.parametrize("name", RULES)
def test_rule(name: str) -> None:
    source, expected = RULES[name]
    assert wikitext_to_text(source) == expected


def test_page() -> None:
    source = """{{Otheruses|飲み物|その他}}
{{飲料
|名称 = 緑茶
|画像 = [[ファイル:Ryokucha.jpg|250px|[[湯呑み]]の緑茶]]
}}
'''緑茶'''（りょくちゃ、{{lang-en|green tea}}、{{Audio|x.ogg|音声}}）は、[[チャノキ]]の葉から作る[[茶]]である\
<ref name="a">{{Cite book|和書|title=茶}}</ref>。

== 種類 ==
{{See also|日本茶}}
* [[煎茶]] - 蒸して揉む。
* {{仮リンク|粉末茶|en|Powdered tea}}<ref name="a" />

{| class="wikitable"
! 名 !! 量
|}
== 味 ==
=== 温度 ===
{{convert|70|C}}ほどがよい。

== 脚注 ==
{{Reflist}}
== 外部リンク ==
* [http://example.jp 緑茶の会]
{{DEFAULTSORT:りよくちや}}
[[Category:茶]]
[[en:Green tea]]
"""
    assert wikitext_to_text(source) == (
        "緑茶（りょくちゃ、green tea）は、チャノキの葉から作る茶である。\n\n"
        "種類\n\n- 煎茶 - 蒸して揉む。\n- 粉末茶\n\n味\n\n温度\n\n70 Cほどがよい。"
    )


@pytest.mark.parametrize(
    "source",
    ["#REDIRECT [[茶]]", "#redirect[[Tea]]", "#転送 [[茶]]", "\n# リダイレクト: [[茶]]", "#REDIRECT: [[a]]"],
)
def test_redirect(source: str) -> None:
    assert is_redirect(source)


@pytest.mark.parametrize("source", ["茶 #REDIRECT [[茶]]", "# [[茶]]", "#REDIRECTS", ""])
def test_no_redirect(source: str) -> None:
    assert not is_redirect(source)


@pytest.mark.parametrize(
    "template",
    [
        "曖昧さ回避", "Aimai", "人名の曖昧さ回避", "地名の曖昧さ回避", "島の曖昧さ回避", "disambig",
        "Disambiguation|geo", "hndis|Lee, A", "Geodis", "Airport disambiguation", "Disambiguation_page", "dab",
    ],
)  # fmt: skip
def test_disambiguation(template: str) -> None:
    assert is_disambiguation(f"'''茶'''\n* [[茶]]\n{{{{{template}}}}}\n")


@pytest.mark.parametrize(
    "source",
    ["{{要曖昧さ回避|date=2014年}}", "{{disambiguation needed}}", "{{Otheruses}}", "曖昧さ回避", "<!-- {{aimai}} -->"],
)
def test_no_disambiguation(source: str) -> None:
    assert not is_disambiguation(source)


TOKENS = [
    "{{", "}}", "[[", "]]", "{|", "\n{|", "\n|-", "\n|}", "|", "=", "<!--", "-->", "<ref>", "</ref>",
    "<ref name=a />", "<ref", "<math>", "</math>", "<nowiki>", "</nowiki>", "<br>", "<li>", "<", ">", "''",
    "'''", "\n", "\n\n", "\n==", "==\n", "\n== 脚注 ==\n", "\n* ", "\n;a : ", "[[File:", "[[Category:",
    "[[en:", "[[:", "{{{", "}}}", "{{lang|en|", "{{convert|1|", "{{!}}", "(", ")", "（", "）", "、", " ",
    "&amp;", "&#x", "__NOTOC__", "[http://x ", "]", "\x03", "\x04", "\r", "茶", "word", "\ud800",
    "{{x}}", "<ref/>", "「{{x}}」", "、{{x}}",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=80))
def test_any_soup_of_tokens_is_read(tokens: list[str]) -> None:
    source = "".join(tokens)
    text = wikitext_to_text(source)
    assert "\x03" not in text and "\x04" not in text and "\n\n\n" not in text
    assert not any(line != line.strip() for line in text.split("\n"))
    is_redirect(source)
    is_disambiguation(source)


@pytest.mark.parametrize(
    "source",
    [
        *(token * (1_000_000 // len(token)) for token in TOKENS),
        "{{small|" * 50_000 + "茶" * 300_000 + "}}" * 50_000,
        "{{lang|en|" * 60_000 + "茶" * 300_000,
        "\n{|\n| a" * 60_000 + "\n|}" * 60_000,
        "（" * 100_000 + "{{x}}" + "）" * 100_000,
        "\n<!--" * 150_000 + "-->x",
        "[[File:a|" * 50_000 + "]]" * 50_000,
        "[http://x" * 50_000 + " " * 300_000,
        "<ref>" * 50_000 + "<math>" * 50_000 + " " * 300_000,
        "{{a|" + "b=c|" * 200_000 + "}}",
        "{{lang|" + "|" * 800_000 + "}}",
    ],
    ids=lambda source: repr(source[:12]),
)
def test_a_megabyte_of_anything_is_read_in_linear_time(source: str) -> None:
    # the slowest of these takes about a second; one quadratic pass would take minutes
    start = time.process_time()
    wikitext_to_text(source)
    is_redirect(source)
    is_disambiguation(source)
    assert time.process_time() - start < 20


def test_what_is_broken_does_not_eat_the_article() -> None:
    prose = "茶は旨い。\n\n" * 50
    starts = ["{{Infobox\n|a = b\n", "{{", "[[", "[[File:a.jpg|", "{|\n| a\n", "<ref>", "<math>", "<!--", "<gallery>"]
    for broken in [*starts, "'''", "}}", "|}", "-->", "]]", "</ref>"]:
        text = wikitext_to_text(f"前文。\n\n{broken}\n\n{prose}== 節 ==\n{prose}")
        assert text.count("茶は旨い。") == 100, broken


@pytest.mark.skipif(not DUMPS.is_dir(), reason="../shared/data is not beside the checkout")
@pytest.mark.parametrize("wiki", ["jawiki", "enwiki"])
def test_real_pages_leave_no_markup(wiki: str) -> None:
    path = next((DUMPS / wiki).glob("*/*-multistream.xml.bz2"))
    root = etree.fromstring(bz2.decompress(path.read_bytes()), etree.XMLParser(huge_tree=True))
    pages = kept = left = 0
    for page in root.iter("{*}page"):
        source = page.findtext("{*}revision/{*}text") or ""
        redirect = page.find("{*}redirect") is not None
        assert is_redirect(source) == redirect
        if redirect or page.findtext("{*}ns") != "0":
            continue
        text = wikitext_to_text(source)
        pages += 1
        kept += len(text) > 300 or is_disambiguation(source)
        left += any(mark in text for mark in ("{{", "}}", "[[", "]]", "'''", "<ref", "{|", "\n|-", "（、"))
    assert pages > 100
    assert kept >= 0.95 * pages
    assert left <= 0.01 * pages
