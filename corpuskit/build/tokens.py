"""From corpora to training: tokenizer, bins and mixture of a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corpuskit.build.workspace import Workspace
from corpuskit.config import UserError
from corpuskit.engine.plan import Input
from corpuskit.engine.store import Receipt, read_receipts


def train_tokenizer(space: Workspace, vocab_size: int, shares: dict[str, float] | None = None) -> Receipt:
    """Train the workspace's one tokenizer.

    Its text comes from the given shares, else from the mixture's, else in equal parts from every language there is.

    Raises:
        UserError: there is no corpus yet, or none of a language named in the shares.
    """
    from corpuskit.mix.mixture import load_mixture
    from corpuskit.tokenizer.train import train_tokenizer as train

    languages = space.languages("corpus")
    if not languages:
        raise UserError(f"{space.root}: no corpus yet; build one with: corpuskit corpus --lang ja")
    mixture = load_mixture(space.root)
    shares = shares or (dict(mixture.shares) if mixture else dict.fromkeys(languages, 1.0))
    corpora = {lang: [i for s in space.corpus_shards(lang) for i in s.inputs] for lang in languages}
    return train(corpora, shares, out=space.root / "tokenizer", vocab_size=vocab_size, runner=space.runner)


def refresh_tokenizer(space: Workspace, vocab_size: int) -> Receipt:
    """Train a tokenizer where there is none; else bring the one there is up to date with what it was made from.

    A workspace has one tokenizer. Adding a language does not replace it: only `corpuskit tokenizer train` does.
    """
    made = read_receipts(space.root / "tokenizer")
    if not made:
        return train_tokenizer(space, vocab_size)
    return train_tokenizer(space, made[0].params["vocab_size"], made[0].params["shares"])


def tokenizer_input(space: Workspace) -> Input:
    """The workspace's tokenizer.

    Raises:
        UserError: there is none yet.
    """
    made = read_receipts(space.root / "tokenizer")
    outputs = [o for r in made for o in r.outputs if o.path.endswith(".model")]
    if not outputs:
        raise UserError(f"{space.root}: no tokenizer yet; train one with: corpuskit tokenizer train")
    path = space.root / "tokenizer" / outputs[0].path
    return Input(str(path), f"tokenizer/{outputs[0].path}", outputs[0].sha256, outputs[0].size)


def pack_corpora(space: Workspace) -> dict[str, dict[str, Any]]:
    """Make the bins of every language that has a corpus; returns documents, tokens and bytes of each.

    Languages that the mixture weighs are packed by weight.

    Raises:
        UserError: there is no tokenizer, or there are no cluster sizes to weigh by.
    """
    from corpuskit.bins.pack import pack_language
    from corpuskit.mix.mixture import load_mixture

    tokenizer = tokenizer_input(space)
    mixture = load_mixture(space.root)
    out = {}
    languages = space.languages("corpus")
    if not languages:
        raise UserError(f"{space.root}: holds no finished corpus to pack; make one with: corpuskit corpus --lang ja")
    for lang in languages:
        weights = mixture.weights.get(lang) if mixture else None
        receipts = pack_language(
            lang,
            space.corpus_shards(lang),
            tokenizer,
            out=space.root / "bins" / lang,
            runner=space.runner,
            weights=weights,
            sizes=space.cluster_sizes(lang) if weights else None,
        )
        out[lang] = {
            "documents": sum(r.counts["in"] for r in receipts),
            "tokens": sum(r.counts["tokens"] for r in receipts),
            "bytes": sum(r.counts["bytes_in"] for r in receipts),
        }
    return out


def parse_shares(words: Sequence[str]) -> dict[str, float]:
    """`--ja 0.57 --en=0.31` as {ja: 0.57, en: 0.31}.

    Raises:
        UserError: anything else.
    """
    shares: dict[str, float] = {}
    rest = [part for word in words for part in word.split("=", 1)]
    while rest:
        name = rest.pop(0)
        value = rest.pop(0) if rest else None
        if not name.startswith("--") or value is None:
            raise UserError(f"mix: '{name}' is not a share; write for example: corpuskit mix --ja 0.57 --en 0.31")
        if name.removeprefix("--") in shares:
            raise UserError(f"mix: {name} is given twice; say one share of a language")
        try:
            shares[name.removeprefix("--")] = float(value)
        except ValueError:
            raise UserError(f"mix: {name} {value}: a share is a number between 0 and 1") from None
    return shares


def set_mixture(
    space: Workspace,
    shares: dict[str, float],
    *,
    tokens: int | None,
    max_epochs: float,
    seed: int,
    save: bool,
    weights: Sequence[str] = (),
    sequence_length: int = 2048,
) -> dict[str, Any]:
    """Set the workspace's mixture and say what it comes to on the bins, where there are bins of every language.

    The plan is shown for windows of `sequence_length`; a run plans for its own.
    """
    from corpuskit.bins.format import TokenStream
    from corpuskit.mix.mixture import MOST_EPOCHS, make_mixture, save_mixture
    from corpuskit.mix.order import WindowOrder, packed_otherwise

    if not 0 < max_epochs <= MOST_EPOCHS:
        raise UserError(f"--max-epochs {max_epochs:g}: a number above 0, such as 4, and at most {MOST_EPOCHS}")
    mixture, note = make_mixture(
        shares, space.languages("corpus"), tokens=tokens, max_epochs=max_epochs, seed=seed, weights=weights
    )
    result: dict[str, Any] = {"shares": mixture.shares, "note": note, "plan": None, "tokens": None}
    result["weights"] = {lang: table.name for lang, table in mixture.weights.items()}
    packed = [lang for lang in sorted(mixture.shares) if lang in space.languages("bins")]
    streams = tuple(TokenStream.open(space.root / "bins" / lang) for lang in packed)
    result["pack_again"] = packed_otherwise(mixture, streams)
    if len(packed) == len(mixture.shares) and not result["pack_again"]:
        # windows no longer than the scarcest language allows, so that a small corpus gets a plan as well
        length = min(sequence_length, *(max(1, s.tokens // 64) for s in streams))
        order = WindowOrder.build(mixture, streams, length)
        result["plan"] = [line._asdict() for line in order.plan()]
        result["tokens"] = order.num_windows * length
    if save:
        save_mixture(space.root, mixture)
    return result


def print_mix(result: dict[str, Any]) -> None:
    """A mixture's plan as a table."""
    from rich.console import Console
    from rich.table import Table

    if result["note"]:
        print(result["note"])
    for lang, name in result["weights"].items():
        print(f"Documents of {lang} count by the weights {name}.")
    if result["pack_again"]:
        print(f"The bins of {', '.join(result['pack_again'])} have other weights. Next: corpuskit pack")
        return
    if result["plan"] is None:
        print("There are no bins of these languages yet. Next: corpuskit tokenizer train; corpuskit pack")
        return
    table = Table(title=f"Mixture ({result['tokens']:,} tokens)")
    for name in ("language", "share", "planned", "tokens", "available", "epochs"):
        table.add_column(name, justify="left" if name == "language" else "right")
    for line in result["plan"]:
        planned = line["planned"] / result["tokens"]
        cells = (
            f"{line['share']:.4f}",
            f"{planned:.4f}",
            f"{line['planned']:,}",
            f"{line['available']:,}",
            f"{line['epochs']:.2f}",
        )
        table.add_row(line["lang"], *cells)
    Console(width=None if Console().is_terminal else 120).print(table)
    print("Next: corpuskit train; or first, for a tokenizer trained on these shares: corpuskit tokenizer train, pack")
