"""Every rule of corpuskit-en on a text just inside and a text just outside of its bound, and texts that must stay.

The texts are built from the good prose of the labelled set and from literals, so that one thing alone changes between
the two; the value of the signal on either side is written down, and the text outside fails that rule and no other.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import pytest
from judged import Labelled, judged, labelled, signal

from corpuskit.rulesets import load_rules

# --- what the texts are made of -----------------------------------------------------------------------------------


@cache
def _all_words() -> list[str]:
    return [w for d in labelled("en") if d.label == "good" for w in re.findall(r"[A-Za-z]+", d.text)]


def prose(words: int) -> str:
    """So many words of good prose, one sentence."""
    return " ".join(_all_words()[:words]) + "."


def lines(count: int, ends: list[str]) -> str:
    """Lines of six words of good prose, each with its end."""
    words = _all_words()
    return "\n".join(" ".join(words[6 * at : 6 * at + 6]) + ends[at] for at in range(count))


def line(number: int) -> str:
    """A line of 30 letters and a full stop: two stop words and good prose cut every six letters, never the same."""
    stream = "".join(_all_words())[24 * number : 24 * number + 24]
    return f"the and {stream[:6]} {stream[6:12]} {stream[12:18]} {stream[18:]}."


def repeated(count: int, joint: str) -> str:
    """Fifty lines or sentences of one length, the last `count` of which occurred before."""
    return joint.join([line(at) for at in range(50 - count)] + [line(at) for at in range(count)])


THREE_LETTERS = """\
the fox and the hen sat and ate the fig
one day the dog saw the cat and ran off
all the men put the net out for the cod
you may use the old axe and the new saw
she can see the sun set and the sea go.
"""
TEN_LETTERS = """\
the basketball strawberry friendship university helicopter restaurant technology laboratory experience
and generation atmosphere playground lighthouse wilderness conclusion difference population percentage
microphone motorcycle literature collection reflection connection instrument government parliament television
background chimpanzee watermelon toothbrush blackberry earthquake settlement revolution impossible successful
remarkable mysterious delightful artificial reasonable commercial industrial electrical internationalisation
extraordinary.
"""
ANIMALS = """\
ant badger beaver bison camel cat cheetah cobra cow crab deer dog dolphin donkey duck eagle elephant falcon ferret fox
frog giraffe goat goose hamster hare hawk hedgehog heron horse jackal kangaroo koala leopard lion lizard llama lobster
mole monkey moose mouse newt octopus otter owl ox panda."""
GARBLED = "\n".join(line(at) for at in range(31)) + " and the dogs of Rome had some to give " + "\ufffd" * 11
CONTROLS = "\n".join(line(at) for at in range(32)) + " and dogs." + "\x92" * 21
NUMBERS = " ".join(str(number) for number in range(10, 31))  # 21 of them
MANY = "the and " + " ".join(f"word{number}" for number in range(99_998))

# --- rule -> the text inside and the text outside of its bound, with the value of its signal --------------------------


class Pair(NamedTuple):
    inside: str
    value_inside: float
    outside: str
    value_outside: float
    also: tuple[str, ...] = ()  # what the text outside cannot but fail as well


def with_boilerplate(likes: str) -> str:
    """27 lines of 31 characters, and 88 and a counter that are no text."""
    return "\n".join([*["Read more"] * 5, *(line(at) for at in range(27)), *["Read more"] * 6, likes])


def with_words(words: list[str], count: int, pad: int = 8) -> str:
    """So many lines of 31 characters, then the words and `pad` letters on one."""
    return "\n".join([*(line(at) for at in range(count)), " ".join([*words, "gardenersandcooks"[: pad - 1]]) + "."])


OBSCENE = ["tits", "slut", "milf", "orgy", "whore", "horny"]
VIOLENT = ["gory", "rape", "raped", "rapist", "torture", "lynched", "massacre", "strangled", "entrails"]
INSULTS = ["kike", "coon", "gook", "spic", "yids", "wops", "fags", "thot", "slag"]
SALES = [
    "buy now",
    "order now",
    "shop now",
    "act now",
    "free gift",
    "hurry up",
    "hot deals",
    "wholesale",
    "mlm",
    "backlinks",
]


PAIRS = {
    "adult_share": Pair(with_words(["tits"] * 5, 12), 20 / 400, with_words(["tits"] * 5, 12, 7), 20 / 399),
    "adult_types": Pair(with_words(OBSCENE[:5], 20), 5, with_words(OBSCENE, 20), 6),
    "violence_share": Pair(with_words(["gory"] * 5, 12), 20 / 400, with_words(["gory"] * 5, 12, 7), 20 / 399),
    "violence_types": Pair(with_words(VIOLENT[:8], 40), 8, with_words(VIOLENT, 40), 9),
    "discrimination_share": Pair(with_words(["kike"] * 5, 12), 20 / 400, with_words(["kike"] * 5, 12, 7), 20 / 399),
    "discrimination_types": Pair(with_words(INSULTS[:8], 40), 8, with_words(INSULTS, 40), 9),
    "advertising_share": Pair(
        with_words(["buy now"] * 6, 10, 14), 36 / 360, with_words(["buy now"] * 6, 10, 13), 36 / 359
    ),
    "advertising_types": Pair(with_words(SALES[:9], 40), 9, with_words(SALES, 40), 10),
    "too_much_cut": Pair(with_boilerplate("1 like"), 93 / 930, with_boilerplate("3 likes"), 94 / 931),
    "too_few_words": Pair(prose(50), 50, prose(49), 49),
    "too_many_words": Pair(MANY + ".", 100_000, MANY + " more.", 100_001),
    "garbled": Pair(GARBLED[:-1], 10 / 1000, GARBLED, 11 / 1001),
    "control_characters": Pair(CONTROLS[:-1], 20 / 1000, CONTROLS, 21 / 1000),
    "word_length_low": Pair(THREE_LETTERS, 150 / 50, THREE_LETTERS.replace("fox", "ox"), 149 / 50),
    "word_length_high": Pair(
        TEN_LETTERS, 500 / 50, TEN_LETTERS.replace("internationalisation", "internationalisations"), 501 / 50
    ),
    "few_alphabetic_words": Pair(f"{prose(80)} {NUMBERS[:-3]}.", 80 / 100, f"{prose(79)} {NUMBERS}.", 79 / 100),
    "few_stop_words": Pair(f"the of {ANIMALS}", 2, f"the the {ANIMALS}", 1),
    "ellipsis_lines": Pair(lines(10, ["..."] * 3 + ["."] * 7), 3 / 10, lines(10, ["..."] * 4 + ["."] * 6), 4 / 10),
    "unpunctuated_lines": Pair(
        lines(100, ["."] * 12 + [""] * 88), 12 / 100, lines(100, ["."] * 11 + [""] * 89), 11 / 100
    ),
    # a line that is a sentence cannot repeat without the sentence repeating
    "duplicate_lines": Pair(repeated(10, "\n"), 10 / 50, repeated(11, "\n"), 11 / 50, ("duplicate_sentences",)),
    "duplicate_sentences": Pair(repeated(10, " "), 10 / 50, repeated(11, " "), 11 / 50),
}


@pytest.mark.parametrize("rule", PAIRS)
def test_text_at_the_bound_is_kept_and_beyond_it_fails_this_rule(rule: str) -> None:
    pair, name = PAIRS[rule], next(r.signal for r in load_rules("en").rules if r.name == rule)
    assert signal(pair.inside, "en", name) == pytest.approx(pair.value_inside)
    assert judged(pair.inside, "en") == {}
    outside = judged(pair.outside, "en")
    assert list(outside) == [rule, *pair.also]
    assert outside[rule] == pytest.approx(pair.value_outside)


def test_language_probability_is_a_rule_like_the_others() -> None:
    assert judged(prose(60), "en", language=0.65) == {}
    assert judged(prose(60), "en", language=0.6499) == {"wrong_language": pytest.approx(0.6499)}


URLS = {  # rule -> the URL inside and the URL outside of its bound
    "blocked_host": ("https://notxnxx.example/1", "https://www.xnxx.com./1"),
    "harmful_url": ("https://poker.example.com/", "https://poker-slots.example.com/"),
    "harmful_path": ("https://example.com/casino/poker", "https://example.com/casino/poker?replica"),
}


@pytest.mark.parametrize("rule", URLS)
def test_a_url_at_the_bound_is_kept_and_beyond_it_fails_this_rule_alone(rule: str) -> None:
    inside, outside = URLS[rule]
    assert judged(prose(60), "en", url=inside) == {}
    assert list(judged(prose(60), "en", url=outside)) == [rule]


def test_every_rule_has_a_text_on_both_sides() -> None:
    assert {rule.name for rule in load_rules("en").rules} == {*PAIRS, *URLS, "wrong_language"}


@pytest.mark.parametrize("document", [d for d in labelled("en") if d.label == "hard_negative"], ids=lambda d: d.name)
def test_hard_negatives_are_kept(document: Labelled) -> None:
    assert judged(document.text, "en") == {}
