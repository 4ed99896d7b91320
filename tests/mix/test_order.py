"""The order of windows: every window once an epoch, shares met at every point, the state one integer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpuskit.bins.format import MANIFEST, BinWriter, TokenStream
from corpuskit.config import UserError
from corpuskit.dedup.weights import Weights
from corpuskit.mix.mixture import Mixture, save_mixture
from corpuskit.mix.order import WindowOrder, _largest_remainder, _locate, _permute

TABLE = Weights(name="table", sha256="0", times={1: 1, 2: 3, 5: 10})


def make_bins(
    folder: Path, lang: str, tokens: int, *, first: int = 0, tokenizer: str = "t", weights: tuple[int, ...] = (1, 1, 1)
) -> None:
    """A stream first, first + 1, first + 2 ... of so many tokens, in a bin for each of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    cuts = len(weights)
    for number, part in enumerate(np.array_split(np.arange(first, first + tokens), cuts)):
        writer = BinWriter(folder, f"b{number}", 1 << 20)
        writer.add("0" * 32, part)
        writer.close()
        digest = f"{lang}/{first}/{tokens}/{number}"
        named = {"name": f"b{number}", "weight": weights[number]}
        shards.append({**named, "tokens": len(part), "sha256": {"bin": digest}})
    manifest = {"lang": lang, "dtype": "uint32", "vocab_size": 1 << 20, "tokenizer_sha256": tokenizer, "shards": shards}
    manifest["weights"] = {"name": TABLE.name, "sha256": TABLE.sha256} if max(weights) > 1 else None
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest))


def make_order(
    tmp_path: Path, sizes: dict[str, int], shares: dict[str, float], *, length: int = 4, **options: Any
) -> WindowOrder:
    for lang, tokens in sizes.items():
        make_bins(tmp_path / lang, lang, tokens)
    streams = tuple(TokenStream.open(tmp_path / lang) for lang in sorted(sizes))
    return WindowOrder.build(Mixture(asked=shares, shares=shares, **options), streams, length)


SIZES = {"code": 803, "en": 1605, "ja": 2401}  # 200, 401 and 600 windows of 4
SHARES = {"code": 0.12, "en": 0.31, "ja": 0.57}


@pytest.fixture
def order(tmp_path: Path) -> WindowOrder:
    return make_order(tmp_path, SIZES, SHARES, max_epochs=3.0)


def every(order: WindowOrder) -> np.ndarray:
    return np.arange(order.num_windows)


# --- the permutation ----------------------------------------------------------------------------------------------


def test_the_permutation_of_every_small_size_is_a_bijection() -> None:
    for size in range(1, 300):
        assert sorted(_permute(np.arange(size), size, 12345)) == list(range(size))


@given(st.integers(1, 20_000), st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_the_permutation_is_a_bijection_for_any_key(size: int, key: int) -> None:
    found = _permute(np.arange(size), size, key)
    assert np.array_equal(np.sort(found), np.arange(size))


def test_the_permutation_reaches_far_in_a_huge_range() -> None:
    size = 10**12
    found = _permute(np.arange(1000), size, 1)
    assert len(set(found.tolist())) == 1000 and found.min() >= 0 and found.max() < size
    assert 0.4 < found.mean() / size < 0.6  # a uniform mean would stray 0.01


def test_another_key_gives_another_order() -> None:
    assert not np.array_equal(_permute(np.arange(100), 100, 1), _permute(np.arange(100), 100, 2))


def test_neighbours_do_not_stay_neighbours() -> None:
    steps = np.diff(_permute(np.arange(10_000), 10_000, 3))
    assert len(np.unique(steps)) > 5_000  # an affine shuffle has two


# --- which language stands where ----------------------------------------------------------------------------------

COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any)


@given(COUNTS)
@settings(max_examples=200, deadline=None)
@example([1, 1000])
@example([1, 1, 1, 1, 1, 1])
@example([0, 5, 0])
def test_the_k_th_window_stands_in_order_of_its_ideal_position(counts: list[int]) -> None:
    total = sum(counts)
    ideal = sorted(((k + 0.5) * (total / n), lang, k) for lang, n in enumerate(counts) for k in range(n))
    language, rank = _locate(np.arange(total), np.array(counts))
    assert [(at, k) for _, at, k in ideal] == list(zip(language.tolist(), rank.tolist(), strict=True))


@given(COUNTS)
@settings(max_examples=200, deadline=None)
@example([1, 1000, 3])
def test_no_language_is_ever_further_from_its_share_than_promised(counts: list[int]) -> None:
    total, languages = sum(counts), len(counts)
    language, _ = _locate(np.arange(total), np.array(counts))
    for lang, count in enumerate(counts):
        taken = np.concatenate([[0], np.cumsum(language == lang)])
        error = np.abs(taken - np.arange(total + 1) * (count / total))
        assert error.max() <= 0.5 + count / total * languages / 2 + 1e-9
        assert taken[-1] == count


@pytest.mark.parametrize(
    ("shares", "total", "counts"),
    [
        ([0.57, 0.31, 0.12], 100, [57, 31, 12]),
        ([0.57, 0.31, 0.12], 10, [6, 3, 1]),
        ([1 / 3, 1 / 3, 1 / 3], 10, [4, 3, 3]),
        ([0.5, 0.5], 0, [0, 0]),
        ([1.0], 7, [7]),
    ],
)
def test_counts_are_whole_and_sum_to_the_run(shares: list[float], total: int, counts: list[int]) -> None:
    assert _largest_remainder(np.array(shares), total).tolist() == counts


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_counts_are_within_one_of_the_shares(weights: list[float], total: int) -> None:
    shares = np.array(weights) / sum(weights)
    counts = _largest_remainder(shares, total)
    assert counts.sum() == total
    assert np.all(np.abs(counts - shares * total) < 1 + 1e-6)


# --- the order ----------------------------------------------------------------------------------------------------


def test_a_run_gives_every_language_its_share_of_windows(order: WindowOrder) -> None:
    located = order.locate(every(order))
    assert np.bincount(located.language).tolist() == order.counts.tolist()
    total = order.num_windows
    for lang, share in enumerate(SHARES[stream.lang] for stream in order.streams):
        taken = np.concatenate([[0], np.cumsum(located.language == lang)])
        assert abs(taken[-1] - share * total) < 1
        assert np.abs(taken - share * np.arange(total + 1)).max() < 2  # under one window, and the rounding of counts


def test_every_window_comes_once_an_epoch(order: WindowOrder) -> None:
    located = order.locate(every(order))
    seen_whole_epochs = 0
    for lang, size in enumerate(order.sizes.tolist()):
        mine = located.language == lang
        assert np.array_equal(located.epoch[mine], np.arange(mine.sum()) // size)
        for epoch in range(located.epoch[mine].max() + 1):
            windows = located.window[mine & (located.epoch == epoch)]
            assert len(np.unique(windows)) == len(windows)
            if len(windows) == size:
                seen_whole_epochs += 1
        assert len(np.unique(located.window[mine])) <= size
    assert seen_whole_epochs >= 3


def test_no_language_is_repeated_more_often_than_allowed(order: WindowOrder) -> None:
    epochs = [line.epochs for line in order.plan()]
    assert max(epochs) <= 3.0 < max(epochs) + 0.05  # the scarcest language is used to the full


def test_every_epoch_has_an_order_of_its_own(order: WindowOrder) -> None:
    located = order.locate(every(order))
    lang = int(np.argmax([line.epochs for line in order.plan()]))
    size = int(order.sizes[lang])
    windows = located.window[located.language == lang]
    assert not np.array_equal(windows[:size], windows[size : 2 * size])
    assert np.array_equal(np.sort(windows[:size]), np.sort(windows[size : 2 * size]))


def test_where_a_position_lies_does_not_depend_on_the_batch(order: WindowOrder) -> None:
    whole = order.locate(every(order))
    shuffled = np.random.default_rng(1).permutation(order.num_windows)
    for field, again in zip(whole, order.locate(shuffled), strict=True):
        assert np.array_equal(field[shuffled], again)
    for position in (0, 1, 17, order.num_windows - 1):
        one = order.locate(np.array([position]))
        assert [int(f[0]) for f in one] == [int(f[position]) for f in whole]
    twice = order.locate(np.array([5, 5]))
    assert all(f[0] == f[1] for f in twice)
    assert [len(f) for f in order.locate(np.array([], np.int64))] == [0, 0, 0]


def test_held_out_windows_are_never_trained_on(order: WindowOrder) -> None:
    located = order.locate(every(order))
    for lang, stream in enumerate(order.streams):
        held = order.heldout[stream.lang][:, 0] // order.sequence_length  # the stream counts up from 0
        trained = np.unique(located.window[located.language == lang])
        assert len(held) == sum(part.heldout for part in order.parts[lang]) >= 8
        assert not set(held.tolist()) & set(trained.tolist())
        if len(trained) == order.sizes[lang]:  # a whole epoch: the two together are all windows
            assert sorted([*held, *trained]) == list(range(int(order.sizes[lang]) + len(held)))


def test_held_out_windows_stay_the_same_in_longer_runs(tmp_path: Path) -> None:
    short = make_order(tmp_path, SIZES, SHARES, tokens=400)
    long = make_order(tmp_path, SIZES, SHARES, max_epochs=2.0)
    for lang in SIZES:
        assert np.array_equal(short.heldout[lang], long.heldout[lang])


@pytest.mark.parametrize(("windows", "held"), [(4, 0), (5, 1), (39, 7), (40, 8), (900, 9), (26_000, 256)])
def test_one_in_a_hundred_is_held_out_within_bounds(tmp_path: Path, windows: int, held: int) -> None:
    order = make_order(tmp_path, {"ja": windows + 1}, {"ja": 1.0}, length=1)
    assert ([part.heldout for part in order.parts[0]], order.sizes.tolist()) == ([held], [windows - held])


def test_windows_overlap_by_one_token_and_predict_every_token_once(tmp_path: Path) -> None:
    order = make_order(tmp_path, {"ja": 1003}, {"ja": 1.0}, length=10, max_epochs=1.0)
    tokens = order.read(every(order))
    assert tokens.shape == (order.num_windows, 11)
    assert np.array_equal(np.diff(tokens, axis=1), np.ones((order.num_windows, 10)))
    predicted = np.concatenate([tokens[:, 1:].ravel(), order.heldout["ja"][:, 1:].ravel()])
    assert np.array_equal(np.sort(predicted), np.arange(1, 1001))  # 100 windows; the last 2 tokens fill none


def test_the_plan_says_what_comes(order: WindowOrder) -> None:
    lines = order.plan()
    assert [line.lang for line in lines] == ["code", "en", "ja"]
    assert sum(line.planned for line in lines) == order.num_windows * 4
    for line in lines:
        assert abs(line.planned - line.wanted) < 4  # within one window
        assert line.epochs == pytest.approx(line.planned / line.available)


def test_a_run_has_the_length_that_was_asked_for(tmp_path: Path) -> None:
    assert make_order(tmp_path, SIZES, SHARES, tokens=403).num_windows == 100


def test_a_run_longer_than_the_corpus_allows_is_refused_with_the_longest_one(tmp_path: Path) -> None:
    longest = make_order(tmp_path, SIZES, SHARES, max_epochs=2.0).num_windows * 4
    assert make_order(tmp_path, SIZES, SHARES, max_epochs=2.0, tokens=longest).num_windows * 4 == longest
    with pytest.raises(UserError, match=f"repeat 'ja' .* 2 times; at most {longest} tokens, or raise --max-epochs"):
        make_order(tmp_path, SIZES, SHARES, max_epochs=2.0, tokens=longest + 4)


def test_bins_too_small_for_a_window_are_refused(tmp_path: Path) -> None:
    make_order(tmp_path, {"ja": 11}, {"ja": 1.0}, length=10)
    with pytest.raises(UserError, match="the bins of 'ja' hold 10 tokens, too few for windows of 10"):
        make_order(tmp_path, {"ja": 10}, {"ja": 1.0}, length=10)


def test_the_fingerprint_changes_with_whatever_changes_the_order(tmp_path: Path) -> None:
    fingerprints = [
        make_order(tmp_path / "a", SIZES, SHARES).fingerprint,
        make_order(tmp_path / "b", SIZES, SHARES, seed=1).fingerprint,
        make_order(tmp_path / "c", SIZES, SHARES, length=5).fingerprint,
        make_order(tmp_path / "d", SIZES, SHARES, max_epochs=2.0).fingerprint,
        make_order(tmp_path / "e", SIZES, {"code": 0.13, "en": 0.3, "ja": 0.57}).fingerprint,
        make_order(tmp_path / "f", {**SIZES, "ja": 2402}, SHARES).fingerprint,
    ]
    make_bins(tmp_path / "g" / "ja", "ja", 2401, first=1)  # as many tokens, but other ones
    for lang in ("code", "en"):
        make_bins(tmp_path / "g" / lang, lang, SIZES[lang])
    streams = tuple(TokenStream.open(tmp_path / "g" / lang) for lang in sorted(SIZES))
    fingerprints.append(WindowOrder.build(Mixture(asked=SHARES, shares=SHARES), streams, 4).fingerprint)
    assert len(set(fingerprints)) == len(fingerprints)
    assert make_order(tmp_path / "again", SIZES, SHARES).fingerprint == fingerprints[0]


def test_another_seed_gives_another_order(tmp_path: Path) -> None:
    first, second = (make_order(tmp_path / str(s), SIZES, SHARES, seed=s) for s in (0, 1))
    positions = every(first)
    assert np.array_equal(first.locate(positions).language, second.locate(positions).language)
    assert not np.array_equal(first.locate(positions).window, second.locate(positions).window)


def test_a_workspace_opens_to_the_order_of_its_mixture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no mixture yet; make one with: corpuskit mix"):
        WindowOrder.open(tmp_path, 4)
    save_mixture(tmp_path, Mixture(asked=SHARES, shares=SHARES))
    with pytest.raises(UserError, match="no bins here; make them with: corpuskit pack"):
        WindowOrder.open(tmp_path, 4)
    for lang, tokens in SIZES.items():
        make_bins(tmp_path / "bins" / lang, lang, tokens)
    order = WindowOrder.open(tmp_path, 4)
    assert ([s.lang for s in order.streams], order.vocab_size) == (["code", "en", "ja"], 1 << 20)
    assert order.tokenizer_sha256 == "t"
    make_bins(tmp_path / "bins" / "ja", "ja", 2401, tokenizer="another")
    with pytest.raises(UserError, match="bins of different tokenizers; make them again with: corpuskit pack"):
        WindowOrder.open(tmp_path, 4)


# --- weights ------------------------------------------------------------------------------------------------------


@pytest.fixture
def weighted(tmp_path: Path) -> WindowOrder:
    """English, and Japanese of which the tokens 800 to 1,600 count 3 times, and those from 1,600 on 10 times."""
    make_bins(tmp_path / "en", "en", 8001)
    make_bins(tmp_path / "ja", "ja", 2401, weights=(1, 3, 10))
    streams = tuple(TokenStream.open(tmp_path / lang) for lang in ("en", "ja"))
    shares = {"en": 0.4, "ja": 0.6}
    return WindowOrder.build(Mixture(asked=shares, shares=shares, max_epochs=1.0, weights={"ja": TABLE}), streams, 4)


def test_a_window_of_weight_k_comes_k_times_in_a_pass_over_its_language(weighted: WindowOrder) -> None:
    located = weighted.locate(every(weighted))
    windows = located.window[located.language == 1]
    held = weighted.heldout["ja"][:, 0] // 4
    # 601, 800 and 800 tokens and 8 windows held out, in proportion
    assert [(p.weight, p.first, p.heldout, p.size) for p in weighted.parts[1]] == [
        (1, 0, 3, 198), (3, 201, 3, 197), (10, 401, 2, 197)
    ]  # fmt: skip
    assert np.bincount(windows, minlength=600)[held].tolist() == [0] * 8
    times = np.bincount(windows, minlength=600)[np.setdiff1d(np.arange(600), held)]
    assert times.tolist() == [1] * 198 + [3] * 197 + [10] * 197
    assert weighted.plan()[1].available == 4 * (198 + 3 * 197 + 10 * 197) == weighted.plan()[1].planned
    assert weighted.plan()[1].epochs == 1.0


def test_the_k_times_lie_in_k_stretches_of_the_run(weighted: WindowOrder) -> None:
    located = weighted.locate(every(weighted))
    windows = located.window[located.language == 1]
    for part in weighted.parts[1]:
        mine = np.flatnonzero((windows >= part.first) & (windows < part.first + part.size + part.heldout))
        stretch = mine * part.weight / len(windows)  # the n-th time lies between n and n + 1, but for some rounding
        assert np.abs(stretch - np.arange(part.planned) / part.size).max() < 0.06
        for turn in range(part.weight):
            assert len(set(windows[mine[turn * part.size : (turn + 1) * part.size]].tolist())) == part.size


def test_the_shares_are_those_of_what_is_read_at_any_point(weighted: WindowOrder) -> None:
    located = weighted.locate(every(weighted))
    taken = np.concatenate([[0], np.cumsum(located.language == 1)])
    assert abs(taken[-1] - 0.6 * weighted.num_windows) < 1
    assert np.abs(taken - 0.6 * np.arange(len(taken))).max() < 2
    for field, again in zip(located, weighted.locate(every(weighted)[::-1]), strict=True):
        assert np.array_equal(field[::-1], again)


def test_parts_too_short_for_a_window_are_read_with_their_neighbours(tmp_path: Path) -> None:
    make_bins(tmp_path / "ja", "ja", 13, weights=(1, 2, 3, 4, 5, 6, 10))  # of 2 and 1 tokens
    mixture = Mixture(asked={"ja": 1.0}, shares={"ja": 1.0}, max_epochs=1.0)
    order = WindowOrder.build(mixture, (TokenStream.open(tmp_path / "ja"),), 4)
    assert [(p.weight, p.first, p.size, p.planned) for p in order.parts[0]] == [
        (1, 0, 1, 1),
        (3, 1, 1, 3),
        (5, 2, 1, 5),
    ]
    windows = order.locate(every(order)).window
    assert np.bincount(windows).tolist() == [1, 3, 5]


def test_bins_of_other_weights_than_the_mixtures_are_refused(tmp_path: Path) -> None:
    make_bins(tmp_path / "bins" / "ja", "ja", 2401, weights=(1, 3, 10))
    shares = {"ja": 1.0}
    mixture = Mixture(asked=shares, shares=shares, weights={"ja": TABLE})
    save_mixture(tmp_path, mixture)
    fingerprints = {WindowOrder.open(tmp_path, 4).fingerprint}
    for others in ({}, {"ja": TABLE.model_copy(update={"sha256": "1"})}):
        save_mixture(tmp_path, mixture.model_copy(update={"weights": others}))
        with pytest.raises(UserError, match=r"ja: the mixture has other weights .* again with: corpuskit pack"):
            WindowOrder.open(tmp_path, 4)
    make_bins(tmp_path / "bins" / "ja", "ja", 2401)
    save_mixture(tmp_path, Mixture(asked=shares, shares=shares))
    assert WindowOrder.open(tmp_path, 4).fingerprint not in fingerprints
