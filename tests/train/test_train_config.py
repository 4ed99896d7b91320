"""Training configurations: the shipped ones, their sizes, and what a mistake in one says. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from train_toy import write_config

from corpuskit.config import UserError
from corpuskit.train.config import load_config
from corpuskit.train.metrics import flops_per_token, peak_flops


@pytest.mark.parametrize(
    ("name", "vocab_size", "millions"),
    [
        ("tiny", 4000, 1.8),
        ("tiny", 8000, 2.8),
        ("25m", 32000, 22.9),
        ("124m", 32000, 134.1),
        ("350m", 32000, 373.9),
        ("1b", 32000, 1100.0),
    ],
)
def test_shipped_sizes(name: str, vocab_size: int, millions: float) -> None:
    assert load_config(name).model.num_parameters(vocab_size) / 1e6 == pytest.approx(millions, abs=0.06)


def test_every_shipped_configuration_divides_its_batch() -> None:
    for name in ("tiny", "25m", "124m", "350m", "1b"):
        config = load_config(name)
        assert config.global_batch_sequences % config.micro_batch_sequences == 0


def test_flops_of_a_token_as_torchtitan_counts_them() -> None:
    # 124M and TinyLlama at 2,048 tokens and 32,000 pieces: 0.88 and 7.31 GFLOP
    assert flops_per_token(load_config("124m"), 32000) / 1e9 == pytest.approx(0.88, abs=0.005)
    assert flops_per_token(load_config("1b"), 32000) / 1e9 == pytest.approx(7.31, abs=0.01)


def test_peak_is_known_or_absent_never_guessed() -> None:
    assert peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("NVIDIA GeForce RTX 4090") is None


def test_mistakes_name_the_field_and_what_was_meant(tmp_path: Path) -> None:
    cases = [
        ({"learning_rat": 1}, "learning_rat: there is no such field; did you mean learning_rate?"),
        ({"model_hiden_size": 1}, "model.hiden_size: there is no such field; did you mean hidden_size?"),
        ({"steps": 0}, "steps: Input should be greater than 0"),
        ({"model_num_attention_heads": 5}, "hidden_size 32 is not an even width for each of 5 heads"),
        ({"model_num_key_value_heads": 3}, "num_attention_heads 4 is no multiple of num_key_value_heads 3"),
    ]
    for changes, message in cases:
        path = write_config(tmp_path, **changes)
        with pytest.raises(UserError) as caught:
            load_config(path)
        assert message in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(UserError, match=r"--config 124n: .* did you mean 124m\?"):
        load_config("124n")
    with pytest.raises(UserError, match="no such file"):
        load_config(tmp_path / "nothing.yaml")
