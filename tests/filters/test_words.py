"""Words from lists: what is found, what the known false alarms are, and that the signals count right."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.config import UserError, load_yaml
from corpuskit.filters.rules import failing
from corpuskit.filters.words import LISTS, SIGNALS, find_words, list_files, measure_lists
from corpuskit.rulesets import load_rules
from corpuskit.text.normalize import normalize_text
from corpuskit.text.shadow import shadow_column


def found(text: str, lang: str = "ja") -> list[tuple[str, str]]:
    return [(w.list, w.word) for w in find_words(pa.array([text], pa.string()), lang)]


def signals(text: str, lang: str = "ja") -> dict[str, float]:
    row = measure_lists(shadow_column(pa.array([text], pa.string())), lang)[0]
    return dict(zip(SIGNALS, row.tolist(), strict=True))


INNOCENT = [
    ("アスパラガスとスカンジナビアの料理、エセックス州とミドルセックス州の地図。", "ja"),
    ("殺菌と殺虫剤、暗殺史の研究、在日米軍、人工中絶の統計、コスプレ衣装。", "ja"),
    ("強姦罪と強姦致死罪の判例を読む。準強姦の構成要件。拷問等禁止条約。", "ja"),
    ("江戸の風俗画と風俗習慣、風俗営業法、善良の風俗に反する契約。", "ja"),
    ("ぱちんこ屋と、災害支援交付金。朝鮮人参を煎じる。", "ja"),
    ("死ねない理由がある。これで死ねる。", "ja"),
    ("鮮卑の風習、三国人物伝、米軍基地外の住居、雌豚の飼料、江南鮮魚店、武田氏ねらいの鉄砲、シナ人形。", "ja"),
    ("児童ポルノの所持、児童ポルノの提供、児童ポルノを製造した罪。", "ja"),
    ("おっぱいを飲ませ、乳房を冷やし、乳首の傷に薬を塗る。勃起と早漏の外来。", "ja"),
    ("虐殺と拷問と強姦の証言。債務整理、過払い金、闇金、消費者金融の相談。", "ja"),
    ("Middlesex, Essex and Scunthorpe; cocktails, a socialist specialist, grape seed.", "en"),
    ("Homo sapiens lived here; a chink in the armour; cum laude; great tits in the garden.", "en"),
]


@pytest.mark.parametrize(("text", "lang"), INNOCENT)
def test_known_false_alarms_are_none(text: str, lang: str) -> None:
    assert found(text, lang) == []


def test_words_are_found_in_every_spelling() -> None:
    assert found("ＡＶ女優とﾊﾟｲｽﾞﾘ") == [("adult", "av女優"), ("adult", "パイズリ")]
    assert found("FREE PORN", "en") == [("adult", "free porn")]


def test_katakana_and_latin_words_need_other_neighbours() -> None:
    assert found("パイズリする") == [("adult", "パイズリ")]
    assert found("ショパイズリー") == []
    assert found("porn", "en") == [("adult", "porn")]
    assert found("Sussex, popcorn, pornic", "en") == []


def test_a_word_inside_a_longer_one_of_its_list_is_that_one() -> None:
    assert found("裏動画とアダルト動画とデリヘル嬢とデリヘルと風俗嬢と風俗") == [
        ("adult", "裏動画"),
        ("adult", "アダルト動画"),
        ("adult", "デリヘル嬢"),
        ("adult", "デリヘル"),
        ("adult", "風俗嬢"),
        ("adult", "風俗"),
    ]
    assert found("殺してやる") == [("violence", "殺してやる")]


def test_an_exception_covers_only_what_stands_inside_it() -> None:
    assert found("死ねば極楽、死ね。") == [("violence", "死ね")]


def test_hits_types_and_the_share_of_characters() -> None:
    text = "巨乳、巨乳、爆乳 と いう 語"  # 13 characters without white space
    values = signals(text)
    assert (values["adult_hits"], values["adult_types"]) == (3, 2)
    assert values["adult_char_fraction"] == pytest.approx(6 / 12)
    assert values["violence_hits"] == values["advertising_char_fraction"] == 0
    # white space inside a word is no character
    assert signals("free trial free trial", "en")["advertising_char_fraction"] == 1


def test_a_single_hit_has_no_share() -> None:
    values = signals("アダルトライブチャット")
    assert (values["adult_hits"], values["adult_types"], values["adult_char_fraction"]) == (1, 1, 0)
    assert signals("アダルトライブチャット、巨乳")["adult_char_fraction"] == pytest.approx(13 / 14)


def test_ambiguous_words_count_in_the_company_of_two_that_are_not() -> None:
    assert found("乳房、勃起、巨根") == [("adult", "巨根")]
    assert found("巨根、巨根、乳房、勃起") == [("adult", "巨根")] * 2
    assert found("乳房、巨根、勃起、爆乳") == [("adult", w) for w in ("乳房", "巨根", "勃起", "爆乳")]
    values = signals("乳房、巨根、勃起、爆乳、乳房")
    assert (values["adult_hits"], values["adult_types"]) == (5, 4)
    assert found("爆乳、爆殺してやる、乳房、痴女、デリヘル\n")[-2:] == [("adult", "痴女"), ("adult", "デリヘル")]
    # of another list no word keeps company
    assert found("殺してやる、ぶっ殺す、乳房") == [("violence", "殺してやる"), ("violence", "ぶっ殺す")]


def test_a_page_that_sells_has_many_types() -> None:
    text = (
        "【期間限定】全品送料無料！格安通販の最安値、初回半額、返金保証つき。今すぐ購入、公式サイトはこちら。在庫限り。"
    )
    assert signals(text)["advertising_types"] >= 8


def test_nothing_is_defined_for_nothing() -> None:
    assert set(signals("").values()) == set(signals(" \n").values()) == {0.0}


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_lists_say_where_they_come_from_and_hold_no_word_twice(lang: str) -> None:
    for path, name in zip(list_files(lang), LISTS, strict=True):
        data = load_yaml(path)
        assert (data["name"], data["lang"]) == (name, lang)
        assert data["source"] and len(data["words"]) == len(set(data["words"]))
        assert len(data["words"]) + len(data.get("ambiguous", [])) >= 100
        assert len(data["not_inside"]) == len(set(data["not_inside"]))
        assert not set(data["words"]) & set(data.get("ambiguous", []))
        assert (data.get("company", 0) > 0) == bool(data.get("ambiguous"))


def test_a_language_without_lists_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match="there are no word lists for xx"):
        list_files("xx")


TEXTS = st.lists(
    st.sampled_from(
        [
            "セックス",
            "乳房",
            "切除",
            "巨乳",
            "強姦",
            "罪",
            "殺してやる",
            "死ね",
            "ば",
            "動画",
            "風俗",
            "営業",
            "嬢",
            "ア",
            "sex",
            "AV",
            "女優",
            " ",
            "\n",
            "。",
        ]
    )
    | st.text(max_size=5),
    max_size=30,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_signals_are_those_of_the_words_that_are_found_and_the_same_after_normalising(text: str) -> None:
    values, hits = signals(text), find_words(pa.array([text], pa.string()), "ja")
    shadow = shadow_column(pa.array([text], pa.string())).text(0)
    chars = sum(not c.isspace() for c in shadow)
    for name in LISTS:
        own = [h for h in hits if h.list == name]
        assert values[f"{name}_hits"] == len(own)
        assert values[f"{name}_types"] == len({h.word for h in own})
        covered = {at for h in own for at in range(h.start, h.end) if not shadow[at].isspace()}
        if chars and text.isprintable():
            share = len(covered) / chars if len(own) > 1 else 0
            assert values[f"{name}_char_fraction"] == pytest.approx(share)
        for h in own:
            assert shadow[h.start : h.end].lower() == h.word
    assert signals(normalize_text(text)) == values or not text.isprintable()


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_no_word_of_any_list_removes_a_document_on_its_own(lang: str) -> None:
    own = [rule for rule in load_rules(lang).rules if rule.signal in SIGNALS]
    assert {rule.signal.split("_")[0] for rule in own} == {*LISTS} - ({"boilerplate"} if lang == "en" else set())
    words = [str(word) for path in list_files(lang) for word in load_yaml(path)["words"]]
    measured = measure_lists(shadow_column(pa.array(words, pa.string())), lang).astype(np.float32)
    single = measured[:, [SIGNALS.index(f"{name}_hits") for name in LISTS]].max(axis=1) == 1
    assert single.mean() > 0.9  # the others hold words of their list twice
    assert not failing(measured[single], SIGNALS, own).any()
