"""metrics.jsonl, one row a step, and how much of the GPU a step uses.

A row holds step (counted from 1), tokens (all trained on so far), loss (nats a token, over the global batch), lr,
grad_norm (before clipping), tokens_per_second; `mfu` on GPUs whose peak is known; and on evaluated steps heldout_loss
(language -> nats a token) and heldout_loss_overall.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corpuskit.engine.store import write_atomic
from corpuskit.train.config import TrainConfig

# Peak dense bf16 FLOP/s by the name the driver gives (data sheets); the first name found in it counts.
PEAK_FLOPS = (
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("B200", 2.25e15),
)


def peak_flops(gpu: str) -> float | None:
    """The peak of one GPU in FLOP/s, or None where it is not known: no number is better than a guessed one."""
    return next((peak for name, peak in PEAK_FLOPS if name in gpu), None)


def flops_per_token(config: TrainConfig, vocab_size: int) -> float:
    """Forward and backward FLOPs of one token: 6 * matmul parameters + 12 * layers * width * sequence length.

    As torchtitan counts: the embedding lookup is free, and attention is not discounted for being causal.
    """
    shape = config.model
    attention = 12 * shape.num_hidden_layers * shape.hidden_size * config.sequence_length
    return 6.0 * shape.num_matmul_parameters(vocab_size) + attention


class MetricsLog:
    """The rows of one run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, Any]]:
        """All whole rows; a line that a killed process left half written is passed over."""
        if not self.path.is_file():
            return []
        rows = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows

    def cut(self, step: int) -> None:
        """Drop what a run that was killed wrote after its last checkpoint: the rows after `step`."""
        kept = [row for row in self.rows() if row["step"] <= step]
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def write(self, row: dict[str, Any]) -> None:
        """Append one row."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
