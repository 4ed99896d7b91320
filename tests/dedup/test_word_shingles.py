"""Shingles of words, for languages that put spaces between them: what a word is, and who goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dedup import CAT, CAT_6, CAT_7, one_shard, removed

from corpuskit.config import Dedup, load_pipeline
from corpuskit.dedup.cluster import jaccard_of
from corpuskit.dedup.curve import one_line
from corpuskit.dedup.exact import NEAR, NORMALIZED
from corpuskit.dedup.minhash import Unit, band_keys, matching_column, shingle_sets
from corpuskit.text.normalize import normalize_text

RELAXED = settings(deadline=None, derandomize=True)
SURE = Dedup(bands=60, rows_per_band=3, shingles="words")  # so wide that chance plays no part at Jaccard 0.6 and more

# 49 different words
TIDE = (
    "Nobody remembers when this harbour first froze, but old sailors claim that ice came overnight, quiet as wool, and "
    "by morning every boat stood locked in white. Children walked across, laughing; dogs followed. Only my grandfather "
    "stayed ashore, mending nets beside his stove, certain winds would return before Sunday."
)


def words(text: str) -> list[int]:
    """The words of a text, as the numbers that stand for them."""
    column: list[int] = matching_column(pa.array([text], pa.string()), "words").codes.tolist()
    return column


def jaccard(a: str, b: str, unit: Unit) -> float:
    sets = shingle_sets(matching_column(pa.array([a, b], pa.string()), unit), 5)
    return float(jaccard_of(sets.values, sets.offsets, np.array([0]), np.array([1]))[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat sat.", "the cat sat"),
        ("the  cat\tsat\r\nＴＨＥ\u00a0ＣＡＴ", "the cat sat the cat"),
        ("the\rcat\u2028sat\u0085down", "the cat sat down"),  # line ends of other systems
        ("“Don't!” she said — ‘don’t’.", "dont she said dont"),  # an apostrophe ends no word
        ("time—and again/and again", "time and again and again"),
        ("time -- and again / and again", "time and again and again"),
        ("a well-known fact_sheet", "a well known fact sheet"),
        ("$3.50 (50%)", "3 50 50"),
        ("co\u00adop\u200beration", "cooperation"),  # what does not show ends no word
        ("Cafe\u0301 STRASSE Straße", "cafe\u0301 strasse strasse"),
        ("猫とcat", "猫 と cat"),  # a kana or kanji is a word
        ("ﾊﾟﾝ tea", "パ ン tea"),
        ("!? … —", ""),
        ("", ""),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert words(text) == words(expected)
    assert len(words(text)) == len(expected.split())


def test_words_differ() -> None:
    found = words("to day today dayto yadot TO d dd ddd 1 11 0 a")
    assert len(set(found)) == len(found) - 1  # to and TO
    assert words("a b") != words("b a")


@RELAXED
@given(st.text(alphabet="aB１1 'ｶﾞﾟ\u3099ー.—①\u200b\r\n\x0b\u0085　", max_size=30))
def test_words_are_the_same_on_normalised_text(text: str) -> None:
    assert words(text) == words(normalize_text(text))


@RELAXED
@given(st.lists(st.text(alphabet="ab あ\u3099.'", max_size=12), max_size=6))
def test_rows_do_not_touch_each_other(texts: list[str]) -> None:
    together = matching_column(pa.array(texts, pa.string()), "words")
    rows = [together.codes[a:b].tolist() for a, b in zip(together.offsets[:-1], together.offsets[1:], strict=True)]
    assert rows == [words(t) for t in texts]


@RELAXED
@given(
    st.lists(st.sampled_from(["to", "be", "or", "not"]), max_size=25),
    st.lists(st.sampled_from(["to", "be", "or", "not"]), max_size=25),
    st.integers(1, 6),
)
def test_shingle_sets_are_those_of_plain_python(a: list[str], b: list[str], ngram: int) -> None:
    def grams(row: list[str]) -> set[tuple[str, ...]]:
        return {tuple(row[i : i + ngram]) for i in range(max(1, len(row) - ngram + 1))} if row else set()

    sets = shingle_sets(matching_column(pa.array([" ".join(a), ", ".join(b)], pa.string()), "words"), ngram)
    one, two = (set(sets.values[sets.offsets[i] : sets.offsets[i + 1]].tolist()) for i in (0, 1))
    assert (len(one), len(two)) == (len(grams(a)), len(grams(b)))
    assert len(one & two) == len(grams(a) & grams(b))


def test_one_changed_word_of_49_and_of_48(tmp_path: Path) -> None:
    """Five of 45 shingles change, 40 of 50 are common; of one word less, 39 of 49."""
    assert len(words(TIDE)) == len(set(words(TIDE))) == 49
    other = TIDE.replace("laughing", "shouting")
    assert jaccard(TIDE, other, "words") == 0.8
    assert one_shard(tmp_path / "over", TIDE, other, params=SURE) == ["a"]
    assert removed(tmp_path / "over") == {"b": (NEAR, 0.8)}

    shorter, other = (t.removesuffix(" before Sunday.") + " soon." for t in (TIDE, other))
    assert jaccard(shorter, other, "words") == 39 / 49
    assert one_shard(tmp_path / "under", shorter, other, params=SURE) == ["a", "b"]
    # the shingles of characters are more forgiving
    characters = SURE.model_copy(update={"shingles": "characters"})
    assert one_shard(tmp_path / "characters", shorter, other, params=characters) == ["a"]


def test_the_preset_of_the_english_pipeline_finds_it(tmp_path: Path) -> None:
    text = " ".join(f"{TIDE} Chapter {n} ends." for n in range(6))
    other = text.replace("Chapter 3", "Part 3")
    assert jaccard(text, other, "words") == 70 / 79  # near the threshold, where 36 bands find 99.99%
    assert one_shard(tmp_path, text, other, params=load_pipeline("en").dedup) == ["a"]


def test_fewer_words_than_a_shingle_has(tmp_path: Path) -> None:
    """Such a text is one shingle, the whole of it: it is like its equals alone, and one without words like none."""
    texts = ("Good morning, everyone.", "good morning everyone", "Good morning, nobody.", "Good morning", "!!!", "???")
    assert one_shard(tmp_path, *texts, params=SURE) == ["a", "c", "d", "e", "f"]
    assert removed(tmp_path) == {"b": (NORMALIZED, 1.0)}
    matching = matching_column(pa.array(texts), "words")
    assert np.diff(shingle_sets(matching, 5).offsets).tolist() == [1, 1, 1, 1, 0, 0]
    keys = band_keys(matching, SURE)
    assert (keys[0] == keys[1]).all() and not (keys[0] == keys[2]).any() and not keys[4:].any()


def test_where_a_word_ends_counts_for_words_alone(tmp_path: Path) -> None:
    texts = ("We met the men every where.", "We met the men everywhere.")
    assert one_shard(tmp_path / "words", *texts, params=SURE) == ["a", "b"]
    assert one_shard(tmp_path / "characters", *texts, params=Dedup()) == ["a"]
    assert removed(tmp_path / "characters") == {"b": (NORMALIZED, 1.0)}


def test_japanese_among_words_is_compared_by_characters() -> None:
    for other in (CAT_6, CAT_7):
        assert jaccard(CAT, other, "words") == jaccard(CAT, other, "characters")


def test_the_pipelines_and_what_is_said() -> None:
    units = {lang: load_pipeline(lang).dedup.shingles for lang in ("ja", "en", "code")}
    assert units == {"ja": "characters", "en": "words", "code": "characters"}
    assert "36 bands x 8 rows, 5-grams of words, threshold 0.8" in one_line(load_pipeline("en").dedup)
    assert "words" not in one_line(load_pipeline("ja").dedup)
