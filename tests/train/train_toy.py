"""A toy workspace for the trainer's tests: bins of a learnable language, a mixture, and a model that fits in a blink.

The "language" is a Markov chain in which a token is followed by one of two others, so a model that has learnt it has a
loss of ln 2 = 0.69, and a uniform guess costs ln 64 = 4.16.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from corpuskit.bins.format import BinWriter
from corpuskit.mix.mixture import make_mixture, save_mixture

VOCAB = 64
CONFIG = {
    "model": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": False,
    },
    "sequence_length": 32,
    "steps": 40,
    "global_batch_sequences": 7,  # odd on purpose: two processes have unequal shares
    "micro_batch_sequences": 2,
    "learning_rate": 1e-2,
    "warmup_steps": 4,
    "eval_every": 20,
    "checkpoint_every": 10,
}


def make_workspace(folder: Path, *, documents: int = 300, seed: int = 0) -> Path:
    """Bins of `ja` and `en` (documents x 64 tokens each) and a mixture of one epoch; another seed, other bins."""
    successors = np.random.default_rng(99).integers(3, VOCAB, (VOCAB, 2))
    for lang in ("ja", "en"):
        out = folder / "bins" / lang
        out.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([seed, len(lang), ord(lang[0])])
        writer = BinWriter(out, "toy", VOCAB)
        for number in range(documents):
            tokens = [1]
            for choice in rng.integers(0, 2, 62):
                tokens.append(int(successors[tokens[-1], choice]))
            writer.add(f"{number:032x}", np.array([*tokens, 2]))
        writer.close()
        shard = {"name": "toy", "tokens": writer.tokens, "sha256": {"bin": _sha256(out / "toy.bin")}}
        manifest = {"lang": lang, "dtype": "uint16", "vocab_size": VOCAB, "tokenizer_sha256": "7e" * 32}
        manifest |= {"tokens": writer.tokens, "shards": [shard]}
        (out / "manifest.json").write_text(json.dumps(manifest))
    mixture, _ = make_mixture({"ja": 0.6, "en": 0.4}, ["ja", "en"], max_epochs=1)
    save_mixture(folder, mixture)
    return folder


def write_config(folder: Path, **changes: Any) -> Path:
    """CONFIG as a file, with changes; `model_x=1` changes the model's field x. (JSON is YAML.)"""
    config = {**CONFIG, "model": dict(CONFIG["model"])}  # type: ignore[call-overload]
    for name, value in changes.items():
        if name.startswith("model_"):
            config["model"][name.removeprefix("model_")] = value
        else:
            config[name] = value
    path = folder / f"toy-{hashlib.md5(json.dumps(changes).encode()).hexdigest()[:6]}.yaml"
    path.write_text(json.dumps(config))
    return path


def rows(workspace: Path, run: str) -> list[dict[str, Any]]:
    """The metrics of a run so far; none before the first step."""
    path = workspace / "train" / run / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []  # what follows the last newline is unfinished
    return [json.loads(line) for line in lines]


def start_launch(workspace: Path, config: Path, run: str, processes: int) -> subprocess.Popen[str]:
    """`launch` in a process of its own, as the command line calls it; a UserError is exit code 2 and one line."""
    program = (
        "import sys; from pathlib import Path; from corpuskit.config import UserError\n"
        "from corpuskit.train.launch import launch\n"
        "try: code = launch(Path(sys.argv[1]), sys.argv[2], sys.argv[3], None, int(sys.argv[4]), True)\n"
        "except UserError as error: print('error:', error, file=sys.stderr); code = 2\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", program, str(workspace), str(config), run, str(processes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def environment() -> dict[str, str]:
    """One thread a process: the tests run beside others, and threads that wait for each other in turns are slow."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
