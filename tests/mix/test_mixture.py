"""Shares: what is asked, where the rest goes, and every mistake with its way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.config import UserError
from corpuskit.mix.mixture import Mixture, load_mixture, make_mixture, save_mixture


def test_shares_that_sum_to_one_are_used_as_they_are() -> None:
    mixture, note = make_mixture({"ja": 0.7, "en": 0.3}, ["code", "en", "ja"])
    assert (mixture.asked, mixture.shares, note) == ({"ja": 0.7, "en": 0.3}, {"ja": 0.7, "en": 0.3}, None)


def test_shares_that_sum_to_one_but_for_rounding_are_used_as_they_are() -> None:
    asked = {"ja": 0.1, "en": 0.2, "code": 0.7}  # 0.1 + 0.2 + 0.7 is a little under 1 in floating point
    assert make_mixture(asked, ["code", "en", "ja", "zh"])[1] is None
    asked = {"ja": 1.1 - 0.2, "en": 0.1}
    assert make_mixture(asked, ["en", "ja"])[0].shares == asked


def test_the_rest_goes_to_the_one_language_that_was_not_named() -> None:
    mixture, note = make_mixture({"ja": 0.57, "en": 0.31}, ["code", "en", "ja"])
    assert mixture.asked == {"ja": 0.57, "en": 0.31}
    assert mixture.shares == pytest.approx({"ja": 0.57, "en": 0.31, "code": 0.12})
    assert note == "The shares sum to 0.88; the other 0.12 goes to code."


def test_without_another_language_all_shares_grow_in_proportion() -> None:
    mixture, note = make_mixture({"ja": 0.57, "en": 0.31}, ["en", "ja"])
    assert mixture.shares == pytest.approx({"ja": 0.57 / 0.88, "en": 0.31 / 0.88})
    assert note == (
        "The shares sum to 0.88 and no other language is in this workspace, so they become ja 0.6477, en 0.3523."
    )


def test_a_rest_for_several_languages_is_an_error_that_names_them() -> None:
    with pytest.raises(
        UserError, match=r"the shares sum to 0\.5; say which .* the other 0\.5: --code SHARE, --en SHARE"
    ):
        make_mixture({"ja": 0.5}, ["code", "en", "ja"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "no shares given; write for example: corpuskit mix --ja 0.57 --en 0.31"),
        ({"jaa": 0.5}, r"--jaa: no corpus of 'jaa' in this workspace; did you mean ja\? \(known: en, ja\)"),
        ({"ja": 0.0}, "--ja 0.0: a share lies between 0 and 1"),
        ({"ja": -0.1, "en": 1.0}, "--ja -0.1: a share lies between 0 and 1"),
        ({"ja": 1.01}, "--ja 1.01: a share lies between 0 and 1"),
        ({"ja": float("nan")}, "--ja nan: a share lies between 0 and 1"),
        ({"ja": 57.0, "en": 31.0}, "--ja 57.0: a share lies between 0 and 1"),
        ({"ja": 0.7, "en": 0.31}, "the shares sum to 1.01; they may sum to 1 at most"),
    ],
)
def test_impossible_shares_are_refused(asked: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_mixture(asked, ["en", "ja"])


@given(st.lists(st.floats(0.001, 0.333), min_size=1, max_size=3), st.integers(0, 1))
def test_used_shares_always_sum_to_one_and_keep_their_proportions(asked_shares: list[float], others: int) -> None:
    asked = {f"l{n}": share for n, share in enumerate(asked_shares)}
    mixture, _ = make_mixture(asked, [*asked, *["rest"] * others])
    assert sum(mixture.shares.values()) == pytest.approx(1)
    if others:
        assert {lang: mixture.shares[lang] for lang in asked} == asked
    else:
        scale = {round(mixture.shares[lang] / share, 6) for lang, share in asked.items()}
        assert len(scale) == 1


def test_a_mixture_is_saved_and_loaded_as_it_is(tmp_path: Path) -> None:
    assert load_mixture(tmp_path) is None
    mixture, _ = make_mixture({"ja": 0.6}, ["en", "ja"], tokens=10**9, max_epochs=1.5, seed=7)
    assert save_mixture(tmp_path, mixture) == tmp_path / "mix" / "mixture.json"
    assert load_mixture(tmp_path) == mixture
    assert (mixture.tokens, mixture.max_epochs, mixture.seed) == (10**9, 1.5, 7)


def test_weights_are_held_by_language_with_the_hash_of_their_table(tmp_path: Path) -> None:
    mixture, _ = make_mixture({"ja": 0.6}, ["en", "ja"], weights=["fineweb2-jpn"])
    assert list(mixture.weights) == ["ja"]
    save_mixture(tmp_path, mixture)
    assert load_mixture(tmp_path) == mixture
    (tmp_path / "mine.yaml").write_text("name: mine\nlang: ja\nsource: own\ntimes: {1: 1, 2: 2}\n")
    (tmp_path / "fr.yaml").write_text("name: fr\nlang: fr\nsource: own\ntimes: {1: 1, 2: 2}\n")
    for weights, message in (
        (["fineweb2-jp"], r"--weights fineweb2-jp: there is no such table; did you mean fineweb2-jpn\?"),
        (["no/such.yaml"], "--weights no/such.yaml: no such file"),
        ([str(tmp_path / "fr.yaml")], "weighs documents of 'fr', which is not in this mixture"),
        (["fineweb2-jpn", str(tmp_path / "mine.yaml")], "'ja' has weights already, fineweb2-jpn; give one of them"),
    ):
        with pytest.raises(UserError, match=message):
            make_mixture({"ja": 0.6}, ["en", "ja"], weights=weights)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"asked": {}}', b'{"asked": {}, "shares": {}, "more": 1}', b"\xff"])
def test_a_damaged_mixture_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "mixture.json").write_bytes(content)
    with pytest.raises(UserError, match=r"mixture\.json: damaged .*run corpuskit mix again") as caught:
        load_mixture(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"tokens": 0}, {"max_epochs": 0}, {"max_epochs": -1.0}])
def test_a_training_has_a_length(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Mixture(**{"asked": {}, "shares": {}, **change})  # type: ignore[arg-type]
