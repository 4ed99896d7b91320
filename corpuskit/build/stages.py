"""The stages that make a corpus of documents, each on any shards; those against duplicates are in corpuskit/dedup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from corpuskit.config import KeepRemoved, Measuring, UserError, data_dir
from corpuskit.engine.plan import Shard, file_sha256
from corpuskit.engine.run import Runner, map_shards
from corpuskit.engine.store import Receipt, as_inputs, read_receipts
from corpuskit.rulesets import RuleSet

# of families that measure alike in all languages
_WORDS_OF = {"characters": "mojibake.txt", "words": "en/stop_words.txt"}


def clean(
    shards: Sequence[Shard],
    *,
    out: Path,
    runner: Runner,
    rules: RuleSet | None,
    measuring: Measuring,
    lid_model: str | None = None,
    removed: KeepRemoved = "all",
) -> list[Receipt]:
    """Read, normalise, cut and measure into `out`: documents/, signals/, cut/, quarantined/, for `decide` to come.

    With rules everything is decided in the same pass: kept/ and removed/ (as much as `removed` says) take the place of
    documents/.

    Raises:
        UserError: a rule names an unknown signal, or the language model is not to be had.
    """
    from corpuskit.filters.clean import STAGE, signal_names
    from corpuskit.filters.language import find_model
    from corpuskit.filters.rules import as_params, check_signals

    if rules is not None:
        check_signals(rules, signal_names(measuring))
    if measuring.language_id:
        model = find_model(lid_model)
        shards = [replace(s, inputs=(*s.inputs, model)) for s in shards]
    params = {
        **measuring.model_dump(mode="json"),
        "vocabularies": vocabularies(measuring),
        "rules": None if rules is None else as_params(rules),
        **({} if rules is None else {"removed": removed}),
    }
    return map_shards(STAGE, with_rules(shards), out=out, params=params, runner=runner)


def with_rules(shards: Sequence[Shard]) -> list[Shard]:
    """The shards, labelled with the sha256 of every file of rules that their readers read: a changed one reads again.

    They stand beside the shard and not in the stage's parameters, so that a new source redoes no other one.
    """
    from corpuskit.sources.read import RULES_OF

    names = {name for s in shards for name in RULES_OF.get(s.labels["reader"], ())}
    hashes = {name: file_sha256(data_dir("rules") / name) for name in names}
    rules = {
        s.labels["reader"]: {f"rules/{name}": hashes[name] for name in RULES_OF.get(s.labels["reader"], ())}
        for s in shards
    }
    return [replace(s, labels={**s.labels, **rules[s.labels["reader"]]}) for s in shards]


def vocabularies(measuring: Measuring) -> dict[str, str]:
    """The sha256 of every file of words that has a say in what is cut and measured: a changed list redoes the stage.

    Raises:
        UserError: there is no such file.
    """
    from corpuskit.filters.cut import lines_file
    from corpuskit.filters.urls import blocked_hosts
    from corpuskit.filters.words import list_files

    files = [lines_file(measuring.lines)] if measuring.lines else []
    files += [data_dir("rules") / name for family, name in _WORDS_OF.items() if family in measuring.signals]
    if "lists" in measuring.signals:
        files += list_files(measuring.lang)
    if "url" in measuring.signals:
        files += [data_dir("rules") / "url" / name for name in ("hosts.txt", "words.yaml")]
    found = {path.relative_to(data_dir("rules")).as_posix(): file_sha256(path) for path in files}
    if "url" in measuring.signals and measuring.blocklist:
        blocked_hosts(measuring.blocklist)
        found["blocklist"] = file_sha256(measuring.blocklist)
    return found


def decide(
    cleaned: Sequence[Receipt], folder: Path, *, out: Path, root: Path, rules: RuleSet, runner: Runner
) -> list[Receipt]:
    """Verdicts on what `clean` measured in `folder`, from the signals alone; verdicts/ and rows/ in `out`.

    Raises:
        UserError: a rule names a signal that was not measured.
    """
    from corpuskit.filters.decide import STAGE
    from corpuskit.filters.rules import as_params

    shards = signal_shards(cleaned, folder, root)
    check_measured(rules, shards)
    params = {"preset": rules.name, "rules": as_params(rules)}
    return map_shards(STAGE, shards, out=out, params=params, runner=runner)


def signal_shards(cleaned: Sequence[Receipt], folder: Path, root: Path) -> list[Shard]:
    """What `clean` measured in `folder`, as shards of one signals file each."""
    return [
        Shard(r.shard, tuple(as_inputs(folder, [r], "signals", root)), {"source": r.counts["source"]}) for r in cleaned
    ]


def check_measured(rules: RuleSet, shards: Sequence[Shard]) -> None:
    """Make sure every rule names a signal that was measured; shards have a signals file as their first input.

    Raises:
        UserError: it was not.
    """
    from corpuskit.engine.tables import open_parquet
    from corpuskit.filters.rules import check_signals
    from corpuskit.schema import MEASURED

    if shards:
        with open_parquet(shards[0].inputs[0].path) as file:
            columns = file.schema_arrow.names
        check_signals(rules, [name for name in columns if name not in MEASURED.names])


def earlier_corpus(folder: Path, lang: str) -> list[Shard]:
    """The documents that stay whatever comes: DIR/kept, or DIR/dedup/<lang>/kept of a workspace, as shards.

    Raises:
        UserError: there are no documents files.
    """
    import pyarrow.parquet as pq

    from corpuskit.dedup.signatures import sign_key
    from corpuskit.schema import DOCUMENT
    from corpuskit.sources.streams import as_input

    kept = next((p for p in (folder / "kept", folder / "dedup" / lang / "kept") if p.is_dir()), folder / "kept")
    files = sorted(kept.glob("*.parquet"))
    if not files:
        raise UserError(f"--against {folder}: no documents in {kept}; give what dedup wrote with --out, or a workspace")
    for file in files:
        if missing := set(DOCUMENT.names) - set(pq.read_schema(file).names):
            raise UserError(f"--against {folder}: {file} has no column {min(missing)}; it holds no documents")
    signed = {r.shard: r for r in read_receipts(kept.parent / "signatures") if r.stage == "dedup_sign"}
    shards = []
    for file in files:
        inputs, labels = [as_input(str(file), f"against/{file.name}")], {"source": "against", "priority": "0"}
        receipt = signed.get(file.stem)
        index = as_inputs(kept.parent / "signatures", [receipt] if receipt else [], "signatures", kept.parent)
        if receipt and all(Path(i.path).is_file() for i in index):
            inputs += index
            labels["index"] = sign_key(receipt.params, receipt.version)
        shards.append(Shard(file.stem, tuple(inputs), labels))
    return shards


def scrub(shards: Sequence[Shard], *, out: Path, types: Sequence[str], runner: Runner) -> list[Receipt]:
    """Mask personal information; kept/ and findings/ in `out`."""
    from corpuskit.privacy.scrub import STAGE

    params = {"types": list(types), "patterns": file_sha256(data_dir("rules") / "privacy" / "patterns.yaml")}
    return map_shards(STAGE, shards, out=out, params=params, runner=runner)
