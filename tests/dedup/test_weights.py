"""Weights by cluster size: the published table, what a table may say, and every mistake with its way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpuskit.config import UserError, data_dir
from corpuskit.dedup.weights import Weights, load_weights
from corpuskit.engine.plan import file_sha256

HEAD = "name: mine\nlang: ja\nsource: own\n"


def test_the_table_of_fineweb_2_for_japanese() -> None:
    lang, weights = load_weights("fineweb2-jpn")
    path = data_dir("rules") / "dedup" / "weights" / "fineweb2-jpn.yaml"
    assert (lang, weights.name, weights.sha256) == ("ja", "fineweb2-jpn", file_sha256(path))
    sizes = [1, 2, 3, 4, 9, 10, 16, 17, 23, 24, 57, 58, 69, 70, 71, 10**9]
    assert weights.of(np.array(sizes)).tolist() == [1, 1, 3, 4, 8, 9, 9, 10, 10, 9, 3, 2, 2, 1, 1, 1]
    assert Weights(**weights.model_dump(mode="json")) == weights  # as a receipt holds it


def test_a_table_of_ones_own_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(HEAD + "times: {5: 2, 1: 1, 9: 4}\n")
    lang, weights = load_weights(str(tmp_path / "mine.yaml"))
    assert (lang, weights.name) == ("ja", "mine")
    assert weights.of(np.array([1, 4, 5, 8, 9, 10])).tolist() == [1, 1, 2, 2, 4, 4]
    assert weights.of(np.empty(0, np.int64)).tolist() == []


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ("{}", "mine.yaml: times: the first size of cluster is 1"),
        ("{2: 2}", "the first size of cluster is 1"),
        ("{0: 1, 1: 1}", "the first size of cluster is 1"),
        ("{1: 0}", "a weight is a whole number from 1 to 100"),
        ("{1: 1, 1000000000001: 2}", "the last at most 10"),
        ("{1: 1, 1: 2}", "'1' stands twice"),
        ("{1: 101}", "a weight is a whole number from 1 to 100"),
        ("{1: 1.5}", "times.1: Input should be a valid integer"),
        ("{one: 1}", "mine.yaml: times.one"),
        ("{1: 1}\ntime: 3", "time: .*did you mean times?"),
    ],
)
def test_a_table_makes_sense_or_is_refused(times: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"{HEAD}times: {times}\n")
    with pytest.raises(UserError, match=message) as caught:
        load_weights(str(tmp_path / "mine.yaml"))
    assert "\n" not in str(caught.value)
