"""Real dumps: how many documents each has, and the whole text of three pages.

The three pages are quoted from Wikipedia under CC BY-SA: 日常生活 (revision 70150178), ゴーダチーズ (66294598) and
Algorithms (journal), by their authors, whom the pages' histories name.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from reading import read_file, read_input

from corpuskit.sources.streams import as_input
from corpuskit.sources.wikipedia import plan_ranges

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not beside the checkout")

EVERYDAY = """日常生活（にちじょうせいかつ）は、毎日繰り返される生活のこと。

具体的には、日々の生活の中で繰り返される出来事や習慣的動作、そこで用いられる物の考え方や知識（常識）、接する物品（その一部は日用品と呼ばれる）などから構成される。だが、その日常生活の内実を比較する時、歴史や文化に応じて、また個人によってもしばしば大きく異なる。自分の日常生活で当然であることが、他人の日常生活においては特別であったり、非常識であったりすることを知ることは、人に知的な驚きや教訓をもたらすことが多い。と同時に、余りにも異なる日常生活を送る人々の間に相通じる常識が見出されて驚きを誘うようなこともある。日常生活のパターンはそれが長続きするとしばしば伝統文化となる。また、時代の流れと共に移ろう風景や物の考え方や人々の心理は世相とも呼ばれる。

日々繰り返される物事の他にも、毎年繰り返される行事や伝統芸能、季節を特徴づける事物である風物詩なども、日常生活を理解する鍵として注目されることがある。

このような日常生活は、歴史学（とりわけ社会史）、文化人類学、民俗学、社会学、などの考察対象となる。

包括概念

- 生活
- 日常生活動作
- 家庭"""

GOUDA = """ゴーダチーズ（Gouda、Goudse kaas）は、エダムチーズと並ぶオランダの代表的なチーズ。オランダでのチーズ生産量の60%を占める。ロッテルダム近郊の町、ゴーダで作られたことからこの名前がついた。正確な起源は不明だが12世紀頃にまで溯るとされることが多い。

外見は黄色がかった茶色い円盤型で、正式なサイズが直径35cm×高さ11cm・重さ約12kgと決められており、それより小さなものを総称して「ベビーゴーダ」と呼んでいる。中は白から黄色。熟成と共に色が変化する。熟成されたゴーダの中には表面が黒いものもある。

クミンシードやニンニクなどを用いて香りをつけたものもある。

主な材料は牛乳とレンネット（凝乳酵素）。

チーズの種類としてはセミハードに分類される。味はマイルドで日本では比較的広く親しまれている。

オランダでは土産物として空港などで売られている他、食料品店、チーズ販売店などでもほぼ置いている。チーズ店などでは特に包装をしていないものを常温で積み上げている場合もある（右図）。これは表面をロウでコーティングしてあり、ナイフを入れない限り熟成が急激に進む心配がないため。他に、フィルムにくるんだものや、真空パックのように包装したものもある。

日本では、チェダーチーズと並んでプロセスチーズの主要な原料として用いられているとされる。また、ゴーダチーズを原料としたスライスチーズが明治から販売されている。"""  # noqa: E501

ALGORITHMS = """Algorithms is a peer-reviewed open access mathematics journal concerning design, analysis, and experiments on algorithms. The journal is published by MDPI and was established in 2008. Its editor-in-chief is Kazuo Iwama (Kyoto University).

Abstracting and indexing

The journal is abstracted and indexed in Chemical Abstracts Service, Compendex, DBLP Computer Science Bibliography, Inspec, MathSciNet, Scopus, and Zentralblatt MATH."""  # noqa: E501


@pytest.mark.parametrize(
    ("wiki", "count", "texts"), [("jawiki", 243, {62: EVERYDAY, 81: GOUDA}), ("enwiki", 98, {742: ALGORITHMS})]
)
def test_a_dump_gives_its_articles_whole_or_in_ranges(
    wiki: str, count: int, texts: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DATA / "dumps.wikimedia.org" / wiki / "20261101"
    dump = folder / f"{wiki}-20261101-pages-articles-multistream.xml.bz2"
    documents, bad = read_file(dump, "wikipedia")
    assert (len(documents), bad) == (count, [])
    found = {d["meta"]["record"]: d["text"] for d in documents}
    assert {number: found[number] for number in texts} == texts
    monkeypatch.setattr("corpuskit.sources.wikipedia.RANGE_BYTES", 300_000)
    ranges = plan_ranges(as_input(str(dump)), str(folder / f"{wiki}-20261101-pages-articles-multistream-index.txt.bz2"))
    assert len(ranges) > 1
    assert [d["id"] for r in ranges for d in read_input(r, "wikipedia")[0]] == [d["id"] for d in documents]


def test_a_cut_dump_gives_all_before_the_cut_and_one_entry() -> None:
    documents, bad = read_file(DATA / "truncated" / "jawiki-latest-pages-articles.truncated.xml.bz2", "wikipedia")
    assert (len(documents), [b["error"] for b in bad]) == (38, ["the compressed stream ends early"])
    assert documents[0]["url"] == "https://ja.wikipedia.org/wiki/%E3%82%A2%E3%83%B3%E3%83%91%E3%82%B5%E3%83%B3%E3%83%89"


def test_cc100_and_mc4_files_have_no_bad_record() -> None:
    documents, bad = read_file(DATA / "data.statmt.org" / "cc-100" / "ja.txt.xz", "cc100")
    assert documents and not bad and not any("\n\n" in d["text"] for d in documents)
    path = next((DATA / "huggingface.co").glob("**/c4-ja.tfrecord-00000-of-01024.json.gz"))
    documents, bad = read_file(path, "jsonl")
    assert (len(documents), bad) == (1380, [])
