"""What a training configuration may say: the model's shape, the batch, the optimizer and how often to log and save.

`load_config` reads a shipped one by name (tiny, 25m, 124m, 350m, 1b: configs/*.yaml) or a file by path. The vocabulary
is no part of it: it belongs to the tokenizer that made the bins. Nothing here imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, PositiveInt, ValidationError, model_validator

from corpuskit.config import Strict, UserError, load_yaml, suggest

CONFIGS = Path(__file__).parent / "configs"


class ModelConfig(Strict):
    """The shape of a Llama-style decoder; the fields are named as in Hugging Face's LlamaConfig."""

    hidden_size: PositiveInt
    """Width of the residual stream."""
    intermediate_size: PositiveInt
    """Width of the SwiGLU feed-forward layer."""
    num_hidden_layers: PositiveInt
    """Number of decoder blocks."""
    num_attention_heads: PositiveInt
    """Query heads; hidden_size is divided among them."""
    num_key_value_heads: PositiveInt
    """Key and value heads; fewer than the query heads means grouped-query attention."""
    rope_theta: float = Field(default=10000.0, gt=0)
    """Base of the rotary position embedding."""
    rms_norm_eps: float = Field(default=1e-5, gt=0)
    """Added to the mean square before its root is taken."""
    tie_word_embeddings: bool = False
    """Whether the output head is the embedding matrix."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden_size % self.num_attention_heads or self.head_dim % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not an even width for each of {self.num_attention_heads} heads"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is no multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        return self

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def num_matmul_parameters(self, vocab_size: int) -> int:
        """Parameters that are multiplied with every token: all matrices and the head, not the embedding lookup."""
        key_value = self.num_key_value_heads * self.head_dim
        attention = 2 * self.hidden_size * (self.hidden_size + key_value)
        feed_forward = 3 * self.hidden_size * self.intermediate_size
        return self.num_hidden_layers * (attention + feed_forward) + vocab_size * self.hidden_size

    def num_parameters(self, vocab_size: int) -> int:
        """All parameters: the matrices, the norms (two a block and the last), and an embedding of its own if untied."""
        norms = (2 * self.num_hidden_layers + 1) * self.hidden_size
        embedding = 0 if self.tie_word_embeddings else vocab_size * self.hidden_size
        return self.num_matmul_parameters(vocab_size) + norms + embedding


class TrainConfig(Strict):
    """One pretraining run."""

    model: ModelConfig
    """The model's shape."""
    sequence_length: PositiveInt
    """Tokens a window feeds to the model (a window holds one more, the last target)."""
    steps: PositiveInt
    """Optimizer steps; fewer are made where the mixture holds fewer."""
    global_batch_sequences: PositiveInt
    """Windows in one optimizer step, over all processes."""
    micro_batch_sequences: PositiveInt
    """Windows one process holds in memory at once; the rest of its share is accumulated."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate; a cosine takes it to a tenth at the last step."""
    warmup_steps: int = Field(default=200, ge=0)
    """Steps of linear warm-up, cut to a tenth of the run where that is fewer."""
    weight_decay: float = Field(default=0.1, ge=0)
    """AdamW's decay, on matrices only."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest global norm of the gradient."""
    seed: int = Field(default=1234, ge=0, lt=1 << 32)
    """Seed of the initial weights."""
    compile: bool = True
    """Whether GPUs run blocks and loss as torch.compile makes them: some seconds more at the start, and faster then."""
    log_every: PositiveInt = 10
    """Steps between two lines on stderr; metrics.jsonl has every step."""
    eval_every: PositiveInt = 500
    """Steps between two held-out evaluations."""
    eval_windows: PositiveInt = 256
    """Held-out windows measured for each language, the first ones."""
    checkpoint_every: PositiveInt = 500
    """Steps between two checkpoints."""


def load_config(name_or_path: str | Path) -> TrainConfig:
    """A shipped configuration by name, or a YAML file by path (it holds a slash or ends in .yaml or .yml).

    Raises:
        UserError: no such name or file, or the file says something it may not.
    """
    text = str(name_or_path)
    if "/" in text or text.endswith((".yaml", ".yml")):
        path = Path(text)
        if not path.is_file():
            raise UserError(f"--config {text}: no such file")
    else:
        shipped = {p.stem: p for p in CONFIGS.glob("*.yaml")}
        if text not in shipped:
            raise UserError(f"--config {text}: there is no such training configuration{suggest(text, shipped)}")
        path = shipped[text]
    data = load_yaml(path)
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a mapping with the fields {', '.join(TrainConfig.model_fields)}")
    try:
        return TrainConfig.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """The first thing wrong, in one line; for an unknown field with the one that was probably meant."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        fields = ModelConfig.model_fields if first["loc"][0] == "model" else TrainConfig.model_fields
        return f"{where}: there is no such field{suggest(str(first['loc'][-1]), fields)}"
    return f"{where}: {first['msg'].removeprefix('Value error, ')} (given: {first['input']})"
