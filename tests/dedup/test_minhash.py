"""The matching shadow, the sketch against theory, and the sets behind the true Jaccard."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.config import Dedup
from corpuskit.dedup.minhash import (
    Matching,
    band_keys,
    candidate_probability,
    matching_column,
    shingle_sets,
    signatures,
)
from corpuskit.text.normalize import normalize_text

# the first example compiles kernels; and what is tested against a bound of chance must not fail by chance
RELAXED = settings(deadline=None, derandomize=True)


def matching(text: str) -> str:
    return matching_column(pa.array([text], pa.string())).text(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("はばぱ", "はばぱ"),  # dakuten tell words apart
        ("ハバパ", "ハバパ"),  # and so does the script
        ("ｶﾞｷﾞﾊﾟ", "ガギパ"),
        ("か\u3099", "が"),  # a dakuten that stands alone as a combining character
        ("あ\u3099", "あ\u3099"),  # nothing to compose with: kept all the same
        ("ＡＢＣ abc １２３", "abcabc123"),
        ("Straße", "strasse"),
        ("㈱日本", "株日本"),
        ("①②", "12"),
        ("ラーメン、二杯。", "ラーメン二杯"),  # ー is a letter
        ("人々〇", "人々〇"),
        ("「え！？」…〜☆　\t\r\n", "え"),
        ("葛\U000e0100城\ufe0f\u200b\u00ad", "葛城"),  # variation selectors and what has no width
        ("。。。", ""),
        ("", ""),
        ("\ufdfb" * 3, "جلجلاله" * 3),  # the character that expands most
        ("\ufdfa", "\ufdfa"),  # a phrase, which is not taken apart
    ],
)
def test_matching_shadow(text: str, expected: str) -> None:
    assert matching(text) == expected


@RELAXED
@given(st.text(alphabet="かｶがｶﾞﾟ\u3099ー！!１1Ａa…〜～㍍①\u200b\r\n　", max_size=30))
def test_matching_shadow_is_the_same_on_normalised_text(text: str) -> None:
    assert matching(text) == matching(normalize_text(text))


@RELAXED
@given(st.lists(st.text(alphabet="はばぱ、。 abcＡ１\u3099", max_size=12), max_size=6))
def test_rows_do_not_touch_each_other(texts: list[str]) -> None:
    together = matching_column(pa.array(texts, pa.string()))
    assert [together.text(i) for i in range(len(texts))] == [matching(t) for t in texts]


def grams(text: str, n: int) -> set[str]:
    """The oracle: the shingles of a matching shadow as strings."""
    return {text[i : i + n] for i in range(max(1, len(text) - n + 1))} if text else set()


@RELAXED
@given(st.text(alphabet="あいう", max_size=30), st.text(alphabet="あいう", max_size=30), st.integers(1, 7))
def test_shingle_sets_are_those_of_plain_python(a: str, b: str, ngram: int) -> None:
    sets = shingle_sets(matching_column(pa.array([a, b], pa.string())), ngram)
    one, two = (set(sets.values[sets.offsets[i] : sets.offsets[i + 1]].tolist()) for i in (0, 1))
    assert len(one) == sets.offsets[1]
    assert (len(one), len(two)) == (len(grams(a, ngram)), len(grams(b, ngram)))
    assert len(one & two) == len(grams(a, ngram) & grams(b, ngram))


def random_pairs(jaccard: float, union: int, trials: int, seed: int) -> tuple[Matching, float]:
    """Pairs of documents (rows 2i and 2i + 1) of one-character shingles, and the Jaccard they all have."""
    rng = np.random.default_rng(seed)
    common = round(jaccard * union)
    first = common + (union - common) // 2
    rows = []
    for _ in range(trials):
        codes = rng.choice(0x10000, union, replace=False).astype(np.uint32)
        rows += [codes[:first], np.concatenate([codes[:common], codes[first:]])]
    offsets = np.cumsum([0, *map(len, rows)])
    return Matching(np.concatenate(rows), offsets), common / union


def ideal_estimates(common: int, union: int, size: int, trials: int, seed: int) -> np.ndarray:
    """The oracle: the sketch of two sets under a truly random hash. A bin agrees when its first shingle is common."""
    rng = np.random.default_rng(seed)
    out = np.empty(trials)
    for trial in range(trials):
        first = np.full(size, -1)
        while (first < 0).any():
            thrown = np.full(size, -1)
            thrown[rng.integers(size, size=union)] = rng.permutation(union)
            first = np.where(first < 0, thrown, first)
        out[trial] = (first < common).mean()
    return out


def estimates(pairs: Matching, size: int) -> np.ndarray:
    sketches = signatures(pairs, 1, size)
    return (sketches[::2] == sketches[1::2]).mean(axis=1)


def check_spread(found: np.ndarray, true: float, size: int, sd: float, tolerance: float) -> None:
    classic = math.sqrt(true * (1 - true) / size)  # of `size` independent MinHashes
    assert abs(found.mean() - true) < 4 * classic / math.sqrt(len(found))
    assert found.std() / sd == pytest.approx(1, abs=tolerance)
    assert found.std() < (1 + tolerance) * classic


@pytest.mark.parametrize("jaccard", [0.3, 0.5, 0.8, 0.95])
def test_estimates_of_long_documents_spread_as_theory_says(jaccard: float) -> None:
    pairs, true = random_pairs(jaccard, 10_000, 2500, seed=1)
    for size in (112, 128, 256):
        # sqrt(1 - size / shingles): bins draw without replacement, which is 1.3% at most here
        check_spread(estimates(pairs, size), true, size, math.sqrt(true * (1 - true) / size), 0.05)


@pytest.mark.parametrize("jaccard", [0.3, 0.5, 0.8, 0.95])
def test_estimates_of_short_documents_spread_as_those_of_a_random_hash(jaccard: float) -> None:
    """150 shingles: less than `size` independent MinHashes, since no shingle is drawn twice in a round."""
    pairs, true = random_pairs(jaccard, 150, 4000, seed=2)
    for size in (112, 128, 256):
        ideal = ideal_estimates(round(true * 150), 150, size, 4000, seed=3).std()
        check_spread(estimates(pairs, size), true, size, ideal, 0.05)


@pytest.mark.parametrize("jaccard", [0.3, 0.5, 0.8, 0.95])
def test_9000_hashes_spread_as_those_of_a_random_hash(jaccard: float) -> None:
    union = 12_000
    pairs, true = random_pairs(jaccard, union, 2000, seed=4)
    ideal = ideal_estimates(round(true * union), union, 9000, 400, seed=5).std()
    check_spread(estimates(pairs, 9000), true, 9000, ideal, 0.1)


@pytest.mark.parametrize("union", [1, 2, 7, 40, 150])
def test_documents_of_fewer_shingles_than_hashes_are_estimated_without_bias(union: int) -> None:
    trials, size = 2000, 112
    pairs, true = random_pairs(0.5 if union > 1 else 1.0, union, trials, seed=union)
    found = estimates(pairs, size)
    assert abs(found.mean() - true) < 5 * math.sqrt(0.25 / size / trials)
    assert found.std() < 1.1 * math.sqrt(true * (1 - true) / size) + 1e-12


@pytest.mark.parametrize("jaccard", [0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("union", [120, 1000])
def test_candidates_are_found_as_often_as_the_curve_says(jaccard: float, union: int) -> None:
    params, trials = Dedup(preset="fineweb", ngram=1), 4000
    pairs, true = random_pairs(jaccard, union, trials, seed=union)
    keys = band_keys(pairs, params)
    found = (keys[::2] == keys[1::2]).any(axis=1).mean()
    # bins draw without replacement: few shingles make a band a little harder to agree on
    assert found == pytest.approx(candidate_probability(true, params), abs=0.04 if union > 200 else 0.08)


def test_the_curve() -> None:
    assert [round(candidate_probability(j, Dedup(preset="fineweb")), 3) for j in (0.7, 0.8, 0.9)] == [0.565, 0.924, 1.0]


@RELAXED
@given(st.text(min_size=1, max_size=200), st.text(max_size=200))
def test_estimate_agrees_with_exact_sets(a: str, b: str) -> None:
    shadows = matching_column(pa.array([a, b, a + b], pa.string()))
    sketches = signatures(shadows, 2, 1024)
    sets = [grams(shadows.text(i), 2) for i in range(3)]
    for i in range(3):
        for j in range(3):
            if sets[i] and sets[j]:
                true = len(sets[i] & sets[j]) / len(sets[i] | sets[j])
                estimate = (sketches[i] == sketches[j]).mean()
                assert abs(estimate - true) <= 6 * math.sqrt(true * (1 - true) / 1024) + 0.005


def test_as_good_as_datasketch_on_real_text() -> None:
    datasketch = pytest.importorskip("datasketch")
    text = "京都は千年の都として知られ、今も多くの寺院と庭園が残る。春には桜、秋には紅葉を見に、国の内外から人が来る。"
    other = text.replace("千年の都", "古い町").replace("国の内外", "世界中")
    shadows = matching_column(pa.array([text, other], pa.string()))
    one, two = (grams(shadows.text(i), 5) for i in (0, 1))
    true = len(one & two) / len(one | two)
    ours = signatures(shadows, 5, 2048)
    theirs = [datasketch.MinHash(num_perm=2048) for _ in range(2)]
    for sketch, shingles in zip(theirs, (one, two), strict=True):
        sketch.update_batch([s.encode() for s in sorted(shingles)])
    bound = 4 * math.sqrt(true * (1 - true) / 2048)
    assert abs((ours[0] == ours[1]).mean() - true) < bound
    assert abs(theirs[0].jaccard(theirs[1]) - true) < 1.5 * bound


def test_short_and_empty_texts() -> None:
    shadows = matching_column(pa.array(["", "！", "猫", "猫。", "猫と", "犬が好きだ"], pa.string()))
    keys = band_keys(shadows, Dedup())
    assert not keys[:2].any()
    assert (keys[2] == keys[3]).all()  # a text shorter than a shingle is one shingle, the whole of it
    assert not (keys[2] == keys[4]).any()
    sets = shingle_sets(shadows, 5)
    assert np.diff(sets.offsets).tolist() == [0, 0, 1, 1, 1, 1]
    none = matching_column(pa.array([], pa.string()))
    assert band_keys(none, Dedup()).shape == (0, 36)
    assert shingle_sets(none, 5).offsets.tolist() == [0]


def test_a_batch_may_be_a_slice() -> None:
    texts = pa.array(["捨てる", "春はあけぼの。", "夏は夜。"], pa.string())
    assert (band_keys(matching_column(texts.slice(1)), Dedup()) == band_keys(matching_column(texts), Dedup())[1:]).all()


def test_keys_are_frozen() -> None:
    """Signatures of two versions must not be mixed: a change here asks for a higher version of the stage."""
    keys = band_keys(
        matching_column(pa.array(["春はあけぼの。やうやう白くなりゆく山ぎは"], pa.string())), Dedup(preset="fineweb")
    )
    assert keys[0, :2].tolist() == [14880283814616233917, 6021679682778398642]
