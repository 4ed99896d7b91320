"""AdamW as Llama was trained with it (betas .9 and .95, decay on matrices only), and the cosine schedule."""

from __future__ import annotations

import math

import torch

from corpuskit.train.config import TrainConfig
from corpuskit.train.model import Llama

BETAS = (0.9, 0.95)
EPS = 1e-8
FINAL_FRACTION = 0.1  # of the peak learning rate, reached at the last step (Llama 2, section 2.2)


def make_optimizer(model: Llama, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the model's parameters; norms are not decayed. Fused on CUDA, foreach on the CPU."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    fused = parameters[0].device.type == "cuda"
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS, eps=EPS, fused=fused, foreach=not fused)


def learning_rate(step: int, last_step: int, config: TrainConfig) -> float:
    """The rate of step 1 .. last_step: a straight line up, then half a cosine down to a tenth of the peak."""
    warmup = min(config.warmup_steps, last_step // 10)
    if step <= warmup:
        return config.learning_rate * step / warmup
    progress = (step - warmup) / max(1, last_step - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * (FINAL_FRACTION + (1 - FINAL_FRACTION) * cosine)
