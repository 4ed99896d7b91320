"""The presets after other pipelines: each bound from both sides, and a text that shows what the preset is like.

The bounds stand here once more, by signal, as the papers and repositories have them; a comment says where a preset has
another one, and the source of its rule says why.
"""

from __future__ import annotations

import numpy as np
import pytest
from judged import judged, labelled, signal

from corpuskit.filters.rules import failing
from corpuskit.rulesets import load_rules, presets

# preset -> signal -> (a value that passes, a value that fails), one pair a bound
JA: dict[str, dict[str, list[tuple[float, float]]]] = {
    # swallow-llm/swallow-corpus quality.py
    "swallow-v1": {
        "num_chars": [(400, 399)],
        "num_japanese_chars": [(400, 399)],
        "duplicate_line_fraction": [(0.30, 0.301)],
        "duplicate_line_char_fraction": [(0.20, 0.201)],
        "duplicate_sentence_fraction": [(0.30, 0.301)],
        "duplicate_sentence_char_fraction": [(0.20, 0.201)],
        "top_2gram_char_fraction": [(0.20, 0.201)],
        "top_3gram_char_fraction": [(0.18, 0.181)],
        "top_4gram_char_fraction": [(0.16, 0.161)],
        "duplicate_5gram_char_fraction": [(0.15, 0.151)],
        "duplicate_6gram_char_fraction": [(0.14, 0.141)],
        "duplicate_7gram_char_fraction": [(0.13, 0.131)],
        "duplicate_8gram_char_fraction": [(0.12, 0.121)],
        "duplicate_9gram_char_fraction": [(0.11, 0.111)],
        "duplicate_10gram_char_fraction": [(0.10, 0.101)],
        "hiragana_per_japanese_char": [(0.2, 0.199)],
        "katakana_per_japanese_char": [(0.5, 0.501)],
        "japanese_per_char": [(0.5, 0.499)],
        "mean_sentence_chars": [(20, 19.9), (90, 90.1)],
        "max_sentence_chars": [(200, 201)],
        "ellipsis_sentence_fraction": [(0.2, 0.201)],
        # ng_fraction of both together; 0.05 itself fails
        "adult_char_fraction": [(0.0499, 0.05)],
        "discrimination_char_fraction": [(0.0499, 0.05)],
        "url_blocked": [(0, 1)],  # ngurl.py
    },
    # huggingface/fineweb-2 configs/jpn_Jpan.yml
    "fineweb2-jpn": {
        "duplicate_line_fraction": [(0.328, 0.329)],
        "top_2gram_char_fraction": [(0.239, 0.24)],
        "top_3gram_char_fraction": [(0.196, 0.197)],
        "top_4gram_char_fraction": [(0.172, 0.173)],
        "duplicate_5gram_char_fraction": [(0.243, 0.244)],
        "duplicate_6gram_char_fraction": [(0.225, 0.226)],
        "duplicate_7gram_char_fraction": [(0.207, 0.208)],
        "duplicate_8gram_char_fraction": [(0.19, 0.191)],
        "duplicate_9gram_char_fraction": [(0.175, 0.176)],
        "duplicate_10gram_char_fraction": [(0.159, 0.16)],
        "duplicate_line_char_fraction": [(0.1, 0.101)],
        "punctuated_line_fraction": [(0.096, 0.095)],
        "newline_per_char": [(0.076, 0.077)],  # published: 0.13 newlines a word
        "language_probability": [(0.886, 0.885)],
        # datatrove's GopherQualityFilter, whose defaults the pipeline leaves as they are
        "num_chars": [(85, 84), (170_000, 170_001)],  # published: 50 and 100,000 words
        "bullet_line_fraction": [(0.9, 0.901)],
        "ellipsis_line_fraction": [(0.3, 0.301)],
        "alphanumeric_per_char": [(0.858, 0.857)],  # published: 0.759 of the words hold a letter
        "hiragana_per_char": [(0.01, 0.0099)],  # published: two of fifteen stop words
    },
    # HojiChar/HojiChar hojichar/filters/document_filters.py
    "hojichar": {
        "kana_in_first_50_chars": [(1, 0)],
        "mean_sentence_chars": [(100, 100.1)],
        "frequent_5gram_fraction": [(0.33, 0.331)],
        "alphanumeric_per_char": [(0.6, 0.599)],  # published: at most 0.4 special characters
        "longest_char_run": [(199, 200)],
        "ellipsis_line_fraction": [(0.7, 0.701)],
        "short_line_fraction": [(0.5, 0.501)],
        "language_probability": [(0.5, 0.499)],
        "adult_hits": [(0, 1)],
        "discrimination_hits": [(0, 1)],
        "violence_hits": [(0, 1)],
        "advertising_hits": [(14, 15)],
    },
    # llm-jp/llm-jp-corpus scripts/filters.py
    "llm-jp-v1": {
        "kana_in_first_50_chars": [(1, 0)],
        "mean_sentence_chars": [(250, 250.1)],
        "lz4_compression_ratio": [(0.45, 0.449), (0.8, 0.801)],  # published: zlib at level 9, 0.30 to 0.70
        "adult_hits": [(3, 4)],
        "discrimination_hits": [(3, 4)],
        "violence_hits": [(3, 4)],
        "advertising_hits": [(10, 11)],
    },
}
# Rae et al. 2021, table A1 and appendix A.1.1
GOPHER: dict[str, list[tuple[float, float]]] = {
    "num_words": [(50, 49), (100_000, 100_001)],
    "mean_word_chars": [(3, 2.99), (10, 10.01)],
    "hash_per_word": [(0.1, 0.101)],
    "ellipsis_per_word": [(0.1, 0.101)],
    "bullet_line_fraction": [(0.9, 0.901)],
    "ellipsis_line_fraction": [(0.3, 0.301)],
    "alphabetic_word_fraction": [(0.8, 0.799)],
    "num_stop_words": [(2, 1)],
    "duplicate_line_fraction": [(0.30, 0.301)],
    "duplicate_paragraph_fraction": [(0.30, 0.301)],
    "duplicate_line_char_fraction": [(0.20, 0.201)],
    "duplicate_paragraph_char_fraction": [(0.20, 0.201)],
    "top_2word_char_fraction": [(0.20, 0.201)],
    "top_3word_char_fraction": [(0.18, 0.181)],
    "top_4word_char_fraction": [(0.16, 0.161)],
    "duplicate_5word_char_fraction": [(0.15, 0.151)],
    "duplicate_6word_char_fraction": [(0.14, 0.141)],
    "duplicate_7word_char_fraction": [(0.13, 0.131)],
    "duplicate_8word_char_fraction": [(0.12, 0.121)],
    "duplicate_9word_char_fraction": [(0.11, 0.111)],
    "duplicate_10word_char_fraction": [(0.10, 0.101)],
}
# Raffel et al. 2019, section 2.2
C4: dict[str, list[tuple[float, float]]] = {
    "lorem_ipsum": [(0, 1)],
    "curly_brackets_per_char": [(0, 0.001)],
    "num_sentences": [(5, 4)],
}
# the list of bad words, which FineWeb does not ask for
BAD_WORDS: dict[str, list[tuple[float, float]]] = {"adult_hits": [(0, 1)], "discrimination_hits": [(0, 1)]}
# RefinedWeb, appendix G.1: a listed host, one word that counts alone, two soft ones
URL: dict[str, list[tuple[float, float]]] = {
    "url_blocked": [(0, 1)],
    "url_word_score": [(0.5, 1)],
    "url_path_word_score": [(0.5, 1)],
}
EN: dict[str, dict[str, list[tuple[float, float]]]] = {
    "gopher": GOPHER,
    "c4": {**C4, **BAD_WORDS},
    # Penedo et al. 2024 (arXiv 2406.17557), section 3, and datatrove's fineweb.py
    "fineweb": {
        **GOPHER,
        **C4,
        **URL,
        "language_probability": [(0.65, 0.649)],
        "punctuated_line_fraction": [(0.12, 0.119)],
        "duplicate_line_char_fraction": [(0.1, 0.101)],  # below Gopher's 0.2
        "line_under_30_fraction": [(0.67, 0.671)],
        "newline_per_word": [(0.3, 0.301)],
    },
    # Penedo et al. 2023 (arXiv 2306.01116), section 3 and appendix G.2
    "refinedweb": {
        **GOPHER,
        **URL,
        "cut_char_fraction": [(0.05, 0.051)],
        "language_probability": [(0.65, 0.649)],
    },
}


ALL = {("ja", name): bounds for name, bounds in JA.items()} | {("en", name): bounds for name, bounds in EN.items()}
PAIRS = [
    (lang, preset, signal, inside, outside)
    for (lang, preset), bounds in ALL.items()
    for signal, pairs in bounds.items()
    for inside, outside in pairs
]


@pytest.mark.parametrize(("lang", "preset", "signal", "inside", "outside"), PAIRS)
def test_a_value_at_the_published_bound_passes_and_one_beyond_it_fails(
    lang: str, preset: str, signal: str, inside: float, outside: float
) -> None:
    rules = [rule for rule in load_rules(lang, preset).rules if rule.signal == signal]
    at = np.array([[inside], [outside]], np.float32)
    assert failing(at, [signal], rules).any(axis=1).tolist() == [False, True]


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_every_bound_of_every_preset_stands_above(lang: str) -> None:
    for preset in presets(lang):
        if preset == f"corpuskit-{lang}":
            continue  # test_rules_ja.py, test_rules_en.py
        rules = load_rules(lang, preset).rules
        sides = {(r.signal, side) for r in rules for side in ("min", "max") if getattr(r, side) is not None}
        above = [(signal, outside > inside) for signal, pairs in ALL[lang, preset].items() for inside, outside in pairs]
        assert sides == {(signal, "max" if high else "min") for signal, high in above}, preset


# --- a text that shows what a preset is like ------------------------------------------------------------------------


def document(lang: str, name: str) -> str:
    return next(d.text for d in labelled(lang) if d.name == name)


LONG_SENTENCE = """\
祖母の話はいつも、だれがどこの家に嫁いで、そこの姑がどういう人で、その人の実家は川向こうの油屋で、油屋の二階には\
一時期、都から逃げてきた絵描きが住みついて、ふすまに鶴の絵を残していったのだけれど、それは洪水の年に流されてしまい、\
いまでは下の町の寺に、羽の先を描いた切れはしが一枚あるばかりで、住職はそれを額に入れて、わざわざ暗い廊下にかけているのも、鶴が夜中に鳴くといううわさのせいらしい、\
といった具合に、どこまで行っても終わらないのだった。
"""
MINUTES = """\
令和六年度第三回定例理事会議事録、六月十五日午前十時開会、理事総数十二名中出席十名、欠席二名、監事一名出席、\
場所本館三階会議室。
"""
PAGE = """\
Home
Share
The heron stands in the shallows for an hour at a time, and then, without any warning, it strikes. Nine times out of \
ten it misses. It shakes its head, takes one slow step, and begins to wait again. Anyone who has watched this for a \
morning will have stopped thinking of it as a patient bird. It is a bird that is good at failing.
3 likes
Read more
"""
RULES_OF_THE_HUT = """\
- Sign the book when you arrive, and say which way you mean to go.
- The stove is lit at four; whoever wakes first brings in the wood.
- Boots stay in the porch, and so do wet dogs.
- Water for drinking must be boiled, because the spring is shared with the sheep.
- Leave the blankets folded and the door on the latch.
- There is no charge, but the tin by the window is not there for show.
"""
VERSES = """\
At night the mill
goes round alone.
No hand has set
its wheel of stone.

The river turns it,
cold and slow,
and grinds the stars
that fall below.

A cupful, maybe,
fills the sack
by five o'clock.
I bring it back

and bake a loaf
so white and thin
that when you break it,
dawn comes in.
"""

CHARACTER = {
    # good news of 270 characters is too little for Swallow, and one sentence can be too long
    ("ja", "swallow-v1", "too little"): (document("ja", "報道-渡し船"), {"num_chars", "num_japanese_chars"}),
    ("ja", "swallow-v1", "one long sentence"): (
        document("ja", "随筆-傘") + LONG_SENTENCE,
        {"max_sentence_chars"},
    ),
    # verse does not end its lines in 。, and there are many of them
    ("ja", "fineweb2-jpn", "a poem"): (document("ja", "詩-冬の港"), {"punctuated_line_fraction", "newline_per_char"}),
    # a page of documentation has so many marks and signs that less than 0.858 are letters and digits
    ("ja", "fineweb2-jpn", "documentation"): (document("ja", "プログラミング-接続のAPI"), {"alphanumeric_per_char"}),
    # more than half of the lines of a recipe have at most ten characters
    ("ja", "hojichar", "a recipe"): (document("ja", "料理-材料だけ長い"), {"short_line_fraction"}),
    # LLM-jp looks for kana in the first fifty characters alone
    ("ja", "llm-jp-v1", "a heading in kanji"): (
        MINUTES + document("ja", "会議録-理事会"),
        {"kana_in_first_50_chars"},
    ),
    ("en", "gopher", "a list"): (RULES_OF_THE_HUT, {"bullet_line_fraction"}),
    ("en", "c4", "a brace"): (document("en", "programming-docs"), {"curly_brackets_per_char"}),
    ("en", "fineweb", "verses"): (VERSES, {"line_under_30_fraction", "newline_per_word"}),
    ("en", "refinedweb", "a page with its frame"): (PAGE, {"cut_char_fraction"}),
}


@pytest.mark.parametrize("case", CHARACTER, ids=" ".join)
def test_a_document_that_a_preset_drops_and_corpuskits_own_rules_keep(case: tuple[str, str, str]) -> None:
    text, signals = CHARACTER[case]
    lang, preset, _ = case
    rules = {rule.name: rule.signal for rule in load_rules(lang, preset).rules}
    assert {rules[name] for name in judged(text, lang, preset)} == signals
    assert judged(text, lang) == {}


# --- words and URLs, on texts of their own --------------------------------------------------------------------------

HERON = """\
The heron stands in the shallows for an hour at a time, and then, without any warning, it strikes. Nine times out of \
ten it misses. It shakes its head, takes one slow step, and begins to wait again. Anyone who has watched this for a \
morning will have stopped thinking of it as a patient bird. It is a bird that is good at failing.
"""
STREETS = [f"{a}{b}" for a in ("魚屋", "米屋", "鍛冶", "大工", "紺屋") for b in ("町", "小路", "横丁")]


def with_hits(lang: str, word: str, hits: int) -> str:
    """Good prose, and so many sentences with the word."""
    if lang == "en":
        return HERON + "".join(f"Somebody once said {word} to it. " for _ in range(hits))
    return document("ja", "随筆-傘") + "".join(f"{street}では{word}の札を見た。" for street in STREETS[:hits])


WORD_RULES = {f"{name}_words" for name in ("adult", "discrimination", "violence", "advertising")}
HITS = [  # preset, rule, a word, how many are kept
    ("hojichar", "adult_words", "エロ動画", 0),
    ("hojichar", "discrimination_words", "クソチョン", 0),
    ("hojichar", "violence_words", "ぶっ殺す", 0),
    ("hojichar", "advertising_words", "送料無料", 14),
    ("llm-jp-v1", "adult_words", "エロ動画", 3),
    ("llm-jp-v1", "discrimination_words", "クソチョン", 3),
    ("llm-jp-v1", "violence_words", "ぶっ殺す", 3),
    ("llm-jp-v1", "advertising_words", "送料無料", 10),
    ("c4", "adult_words", "hentai", 0),
    ("c4", "discrimination_words", "wetback", 0),
]


@pytest.mark.parametrize(("preset", "rule", "word", "kept"), HITS)
def test_so_many_words_of_a_list_are_kept_and_one_more_fails_this_rule(
    preset: str, rule: str, word: str, kept: int
) -> None:
    lang = "en" if preset == "c4" else "ja"
    assert judged(with_hits(lang, word, kept), lang, preset).keys().isdisjoint(WORD_RULES)
    assert judged(with_hits(lang, word, kept + 1), lang, preset).keys() & WORD_RULES == {rule}


@pytest.mark.parametrize(("rule", "word"), [("adult_share", "エロ動画"), ("discrimination_share", "劣等人間")])
def test_swallow_keeps_a_text_with_less_than_a_twentieth_of_such_words(rule: str, word: str) -> None:
    prose = document("ja", "随筆-傘")  # of 317 characters
    for hits, share, fails in ((4, 16 / 336, set()), (5, 20 / 341, {rule})):
        text = prose + "".join([f"{word}。"] * hits)
        assert signal(text, "ja", f"{rule.removesuffix('_share')}_char_fraction") == pytest.approx(share, abs=1e-3)
        assert judged(text, "ja", "swallow-v1").keys() & {"adult_share", "discrimination_share"} == fails


def test_asparagus_has_no_adult_word_for_hojichar_either() -> None:
    asparagus = [d.text for d in labelled("ja") if d.genre == "アスパラガス"]
    assert len(asparagus) >= 4
    assert all("adult_words" not in judged(text, "ja", "hojichar") for text in asparagus)


URLS = [  # preset, rule, the URL inside and the URL outside of its bound
    ("swallow-v1", "blocked_host", "https://not5ch.net/1", "https://itest.5ch.net/1"),
    *(
        (preset, rule, inside, outside)
        for preset in ("refinedweb", "fineweb")
        for rule, inside, outside in (
            ("blocked_host", "https://notxnxx.example/1", "https://www.xnxx.com./1"),
            ("harmful_url", "https://poker.example.com/", "https://poker-slots.example.com/"),
            ("harmful_url", "https://essex.example.com/", "https://sex.example.com/"),
            ("harmful_path", "https://example.com/poker", "https://example.com/poker?replica"),
            ("harmful_path", "https://example.com/poker", "https://example.com/xxx"),
        )
    ),
]


@pytest.mark.parametrize(("preset", "rule", "inside", "outside"), URLS)
def test_a_url_fails_this_rule_alone(preset: str, rule: str, inside: str, outside: str) -> None:
    lang = "ja" if preset == "swallow-v1" else "en"
    text = with_hits(lang, "", 0)
    known = set(judged(text, lang, preset))
    assert set(judged(text, lang, preset, url=inside)) == known
    assert set(judged(text, lang, preset, url=outside)) - known == {rule}
