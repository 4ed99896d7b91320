"""The decoder: parameter names and counts, causality, the rotary layout, grouped heads, initial weights."""

from __future__ import annotations

import shutil

import pytest

torch = pytest.importorskip("torch")

from corpuskit.train.config import ModelConfig  # noqa: E402
from corpuskit.train.model import IGNORED, Llama, init_weights, rotary_tables, rotate, summed_loss  # noqa: E402
from corpuskit.train.parallel import compile_blocks  # noqa: E402


def shape(**changes: int | bool) -> ModelConfig:
    base = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    base |= {"num_attention_heads": 4, "num_key_value_heads": 4}
    return ModelConfig.model_validate(base | changes)


def model(config: ModelConfig, vocab_size: int = 50, seed: int = 1) -> Llama:
    built = Llama(config, vocab_size)
    init_weights(built, seed)
    return built


def test_parameter_names_are_those_of_hugging_face() -> None:
    names = [name for name, _ in Llama(shape(num_hidden_layers=1), 50).named_parameters()]
    layer = "model.layers.0."
    assert sorted(names) == sorted(
        ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
        + [f"{layer}self_attn.{x}_proj.weight" for x in "qkvo"]
        + [f"{layer}mlp.{x}_proj.weight" for x in ("gate", "up", "down")]
        + [f"{layer}input_layernorm.weight", f"{layer}post_attention_layernorm.weight"]
    )


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_parameter_count_formula(tied: bool, kv_heads: int) -> None:
    config = shape(tie_word_embeddings=tied, num_key_value_heads=kv_heads)
    assert sum(p.numel() for p in Llama(config, 50).parameters()) == config.num_parameters(50)


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_a_later_token_never_changes_earlier_logits(kv_heads: int) -> None:
    net = model(shape(num_key_value_heads=kv_heads))
    tokens = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(0))
    before = net(tokens)
    for at in (1, 7, 15):
        changed = tokens.clone()
        changed[:, at] = (changed[:, at] + 1) % 50
        after = net(changed)
        torch.testing.assert_close(after[:, :at], before[:, :at], rtol=0, atol=1e-6)
        assert (after[:, at:] - before[:, at:]).abs().max() > 1e-3


def test_rotation_pairs_a_dimension_with_the_one_half_a_head_away() -> None:
    cos, sin = rotary_tables(4, 8, 10000.0, torch.device("cpu"))
    one = torch.zeros(1, 1, 4, 8)
    one[..., 1] = 1.0  # dimension 1 turns by position * 10000^(-2/8) = position / 10
    turned = rotate(one, cos, sin)[0, 0, 3]
    expected = torch.zeros(8)
    expected[1], expected[5] = torch.cos(torch.tensor(0.3)), torch.sin(torch.tensor(0.3))
    torch.testing.assert_close(turned, expected)


def test_rotated_products_depend_on_distance_only() -> None:
    cos, sin = rotary_tables(32, 8, 10000.0, torch.device("cpu"))
    draw = torch.Generator().manual_seed(0)
    query, key = (torch.randn(8, generator=draw).expand(1, 1, 32, 8) for _ in range(2))
    scores = (rotate(query, cos, sin) @ rotate(key, cos, sin).transpose(-1, -2))[0, 0]
    torch.testing.assert_close(scores[9, 4], scores[25, 20], atol=1e-5, rtol=0)
    assert abs(float(scores[9, 4] - scores[9, 5])) > 1e-3


def test_grouped_heads_are_full_heads_that_share_keys_and_values() -> None:
    grouped, full = model(shape(num_key_value_heads=2)), model(shape())
    weights = dict(grouped.named_parameters())
    with torch.no_grad():
        for name, parameter in full.named_parameters():
            source = weights[name]
            if name.endswith(("k_proj.weight", "v_proj.weight")):
                source = source.view(2, 8, 32).repeat_interleave(2, dim=0).reshape(32, 32)
            parameter.copy_(source)
    tokens = torch.arange(16)[None]
    torch.testing.assert_close(grouped(tokens), full(tokens))


def test_initial_weights() -> None:
    config = shape(hidden_size=256, intermediate_size=512, num_hidden_layers=8)
    weights = model(config, 1000).state_dict()
    assert float(weights["model.embed_tokens.weight"].std()) == pytest.approx(0.02, rel=0.02)
    assert float(weights["model.layers.3.mlp.up_proj.weight"].std()) == pytest.approx(0.02, rel=0.02)
    for name in ("self_attn.o_proj", "mlp.down_proj"):  # 0.02 / sqrt(2 * 8)
        assert float(weights[f"model.layers.3.{name}.weight"].std()) == pytest.approx(0.005, rel=0.02)
    assert bool((weights["model.norm.weight"] == 1).all())
    again, other = model(config, 1000).state_dict(), model(config, 1000, seed=2).state_dict()
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(weights[name], again[name]) and not torch.equal(weights[name], other[name])
    assert not torch.equal(weights[name], weights["model.layers.1.self_attn.q_proj.weight"])


def test_loss_is_summed_over_targets_that_count() -> None:
    logits = torch.zeros(2, 3, 50)
    targets = torch.tensor([[1, 2, IGNORED], [IGNORED, IGNORED, IGNORED]])
    assert float(summed_loss(logits, targets)) == pytest.approx(2 * torch.log(torch.tensor(50.0)).item())
    assert float(summed_loss(logits, torch.full((2, 3), IGNORED))) == 0.0


@pytest.mark.skipif(shutil.which("g++") is None, reason="on the CPU torch.compile needs a C++ compiler")
def test_compiled_blocks_keep_their_names_and_give_the_same_loss_and_gradients() -> None:
    tokens = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(1))
    plain, compiled = model(shape()), model(shape())
    compile_blocks(compiled)
    losses = [summed_loss(built(tokens[:, :-1]), tokens[:, 1:]) for built in (plain, compiled)]
    torch.testing.assert_close(losses[0], losses[1])
    for loss in losses:
        loss.backward()
    gradients = [{name: p.grad for name, p in built.named_parameters()} for built in (plain, compiled)]
    torch.testing.assert_close(gradients[0], gradients[1])
