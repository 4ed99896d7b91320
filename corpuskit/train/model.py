"""A Llama-style decoder in plain PyTorch, with the parameter names and the rotary layout of Hugging Face's Llama.

RMSNorm before attention and before the SwiGLU feed-forward, rotary position embedding (the half-rotate layout),
grouped-query attention through PyTorch's fused causal attention, and a head that is its own matrix or the embedding.
Shapes: B windows, T tokens, D hidden_size, H query heads, K key/value heads, C head width, V vocabulary.

There are no buffers (the rotary tables are made from the input's length), so a model built on the meta device needs
nothing but `init_weights` to be whole.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import functional

from corpuskit.train.config import ModelConfig

INIT_STD = 0.02
IGNORED = -100  # a target that counts for nothing: the padding of a process whose share of the batch is short


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension, in fp32 whatever x is; the result has the dtype of x."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return functional.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)


def rotary_tables(length: int, width: int, theta: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of position * theta^(-2i/width), each (length, width) fp32, the two halves alike."""
    frequencies = theta ** -(torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn (B, H, T, C) by its positions: dimension i is paired with i + C/2 (Hugging Face's layout, not Meta's)."""
    first, second = x.float().chunk(2, dim=-1)
    return (x.float() * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


class Attention(nn.Module):
    """Causal self-attention; fewer key/value heads than query heads share them in groups."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.head_dim
        key_value = self.num_kv_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, key_value, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, key_value, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        batch, length, width = x.shape
        query = self.q_proj(x).view(batch, length, self.num_heads, self.head_dim).transpose(1, 2)
        key = self.k_proj(x).view(batch, length, self.num_kv_heads, self.head_dim).transpose(1, 2)
        value = self.v_proj(x).view(batch, length, self.num_kv_heads, self.head_dim).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(
            rotate(query, cos, sin),
            rotate(key, cos, sin),
            value,
            is_causal=True,
            enable_gqa=self.num_kv_heads != self.num_heads,
        )
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One decoder layer, and the unit that FSDP shards."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, blocks and the last norm: everything under the prefix `model.`."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.head_dim, self.rope_theta = config.head_dim, config.rope_theta

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) int64 -> (B, T, D)."""
        cos, sin = rotary_tables(tokens.shape[1], self.head_dim, self.rope_theta, tokens.device)
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)


class Llama(nn.Module):
    """The language model. A tied head has no parameter of its own, as in Hugging Face's files."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config, vocab_size)
        tied = config.tie_word_embeddings
        self.lm_head = None if tied else nn.Linear(config.hidden_size, vocab_size, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids (B, T) int64 -> logits (B, T, V); logits at t depend on tokens 0..t only."""
        x = self.model(tokens)
        if self.lm_head is None:
            return functional.linear(x, self.model.embed_tokens.weight)
        return self.lm_head(x)


def summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over the targets (B, T) that are not IGNORED; softmax in fp32."""
    return functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )


@torch.no_grad()
def init_weights(model: Llama, seed: int) -> None:
    """Fill every parameter in place: norms with 1, matrices with N(0, 0.02).

    The two matrices of a block that write to the residual stream are scaled by 1/sqrt(2 * layers), so that the sum
    over the blocks keeps its size (GPT-2, Megatron-LM). Every matrix has a generator of its own and is drawn whole on
    the CPU before it is cut to this process' shard: the same seed gives the same model on any number of processes.
    """
    residual_std = INIT_STD / (2 * model.config.num_hidden_layers) ** 0.5
    for index, (name, parameter) in enumerate(model.named_parameters()):
        if parameter.ndim == 1:
            parameter.fill_(1.0)
            continue
        std = residual_std if name.endswith(("o_proj.weight", "down_proj.weight")) else INIT_STD
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        whole = torch.empty(parameter.shape).normal_(0.0, std, generator=generator).to(parameter.device)
        if isinstance(parameter, DTensor):
            # every process drew the same numbers, so none needs to be sent (src_data_rank=None)
            whole = distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
        parameter.copy_(whole)
