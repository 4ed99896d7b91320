"""The stages on files that are in no workspace: `--input` and `--out`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from corpuskit import config, rulesets
from corpuskit.build.sources import part_names
from corpuskit.build.stages import clean, earlier_corpus, scrub, with_rules
from corpuskit.build.workspace import documents
from corpuskit.config import Dedup, KeepRemoved, Measuring, Paragraphs, Substring, UserError
from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Runner, map_shards
from corpuskit.engine.store import Receipt, as_inputs, write_json
from corpuskit.report.funnel import language_funnel
from corpuskit.rulesets import RuleSet

log = logging.getLogger("corpuskit")

# For --dry-run, where nothing was read yet: how plain files are named, what others inflate to, a usual document.
_PLAIN = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".text", ".xml", ".warc", ".wet")
_INFLATES = 3
_DOCUMENT_BYTES = 5000

# What commands write below --out, a file of each kind.
_KINDS = ("kept", "removed", "signals", "cut", "quarantined", "spans", "clusters", "findings", "read/kept")
_WRITTEN = ("funnel.json", "receipts/00000.json", *(f"{kind}/00000.parquet" for kind in _KINDS))


def foreign_shards(
    patterns: Sequence[str],
    lang: str,
    text_field: str,
    url_field: str,
    text_unit: str = "file",
    reader: str | None = None,
) -> list[Shard]:
    """Files that are in no workspace as shards: a file or a range of one each, numbered in order of path.

    Raises:
        UserError: nothing matches, an unknown reader or kind of file, or no such text field.
    """
    from corpuskit.sources.fields import FieldMap
    from corpuskit.sources.partition import partition
    from corpuskit.sources.read import local_reader
    from corpuskit.sources.streams import as_input, expand

    paths = [path for pattern in patterns for path in expand(pattern)]
    shards = []
    for n, path in enumerate(dict.fromkeys(paths)):
        read_as = local_reader(path, text_field, text_unit, reader)
        labels = {"source": "input", "lang": lang, "reader": read_as, **FieldMap(text_field, url_field).labels()}
        parts = partition(read_as, as_input(path, path))
        names = part_names(f"{n:05d}", len(parts))
        shards += [Shard(name, (part,), labels) for name, part in zip(names, parts, strict=True)]
    return shards


def check_out(patterns: Sequence[str], out: Path) -> None:
    """Make sure that a folder which is read as a whole, or a glob, does not take in what is written.

    Raises:
        UserError: `out` is one of the folders, or lies in one, or a glob would give files of it.
    """
    from corpuskit.sources.streams import would_match

    for pattern in patterns:
        inside = Path(pattern).is_dir() and out.resolve().is_relative_to(Path(pattern).resolve())
        if inside or any(would_match(pattern, out / name) for name in _WRITTEN):
            raise UserError(f"--out {out}: lies in --input {pattern}, and would be read the next time; choose another")


def describe_files(shards: Sequence[Shard]) -> dict[str, Any]:
    """What --dry-run says about foreign files."""
    whole = {s.inputs[0].name: s for s in shards}
    files = [{"file": name, "bytes": s.inputs[0].size, "reader": s.labels["reader"]} for name, s in whole.items()]
    return {"files": files, "bytes": sum(s.inputs[0].size for s in whole.values())}


@dataclass(frozen=True, slots=True)
class CleanFiles:
    """What `corpuskit clean --input` was asked for."""

    shards: Sequence[Shard]
    rules: RuleSet
    measuring: Measuring


def plan_clean_files(
    lang: str,
    patterns: Sequence[str],
    text_field: str,
    url_field: str,
    preset: str | None,
    text_unit: str = "file",
    reader: str | None = None,
) -> CleanFiles:
    """Resolve everything a user can get wrong before work starts."""
    rules = rulesets.load_rules(lang, preset)
    pipeline = config.load_pipeline(lang)
    shards = foreign_shards(patterns, lang, text_field, url_field, text_unit, reader)
    return CleanFiles(shards, rules, pipeline.measuring())


def clean_files(
    plan: CleanFiles, *, out: Path, runner: Runner, lid_model: str | None, removed: KeepRemoved = "all"
) -> dict[str, Any]:
    """Clean foreign files into `out`; returns and writes funnel.json."""
    receipts = clean(
        plan.shards,
        out=out,
        runner=runner,
        rules=plan.rules,
        measuring=plan.measuring,
        lid_model=lid_model,
        removed=removed,
    )
    _say_empty(receipts)
    return _write_funnel(out, language_funnel(clean=receipts))


@dataclass(frozen=True, slots=True)
class DedupFiles:
    """What `corpuskit dedup --input` was asked for."""

    shards: Sequence[Shard]
    params: Dedup
    against: Sequence[Shard]
    paragraphs: Paragraphs | None = None
    substring: Substring | None = None


def plan_dedup_files(
    shards: Sequence[Shard],
    lang: str,
    changes: dict[str, Any],
    against: Path | None = None,
    paragraphs: Paragraphs | None = None,
    substring: Substring | None = None,
) -> DedupFiles:
    """The pipeline's settings with what the command line changes, and the earlier corpus.

    Raises:
        UserError: a setting is not possible, or there is no earlier corpus where one was named.
    """
    params = config.change_dedup(config.load_pipeline(lang).dedup, changes)
    return DedupFiles(shards, params, earlier_corpus(against, lang) if against else (), paragraphs, substring)


def describe_dedup(plan: DedupFiles) -> dict[str, Any]:
    """What --dry-run says: the files, the setting, what it finds, and what it needs, for texts of usual size."""
    from corpuskit.dedup.curve import describe

    found = describe(plan.params, *_expected(plan))
    return {**describe_files(plan.shards), "against_files": len(plan.against), "dedup": found}


def announce_dedup(plan: DedupFiles) -> str:
    """The same in a line, for before the run."""
    from corpuskit.dedup.curve import cost_line, estimate, one_line

    return f"{one_line(plan.params)}; {cost_line(estimate(*_expected(plan), plan.params))}"


def _expected(plan: DedupFiles) -> tuple[int, int]:
    """Documents and bytes of text, as far as sizes of files tell."""
    files = [*plan.shards, *plan.against]
    text = sum(s.inputs[0].size * (1 if s.inputs[0].path.endswith(_PLAIN) else _INFLATES) for s in files)
    return text // _DOCUMENT_BYTES, text


def dedup_files(plan: DedupFiles, *, out: Path, runner: Runner, removed: KeepRemoved = "all") -> dict[str, Any]:
    """Deduplicate foreign files into `out`; returns and writes funnel.json.

    With `paragraphs` or `substring` the steps before the last one go to folders of their own, `near` and `paragraphs`;
    `out` itself always has what is left at the end, and everything that was removed and cut.
    """
    from corpuskit.dedup.paragraphs import cut_paragraphs
    from corpuskit.dedup.stage import dedup
    from corpuskit.dedup.substring import cut_repeats

    paragraphs, substring = plan.paragraphs, plan.substring
    read, files = _read_files(plan.shards, out, runner)
    files = [replace(s, labels={**s.labels, "priority": "0"}) for s in files]
    near_in = out / "near" if paragraphs or substring else out
    near = dedup(files, out=near_in, root=out, params=plan.params, runner=runner, against=plan.against, removed=removed)
    cut: dict[str, list[Receipt]] = {}
    last_in, last = near_in, near
    if paragraphs:
        folder = out / "paragraphs"
        results = folder if substring else out
        shards = _carrying(last_in, last, out)
        last = cut_paragraphs(
            shards, work=folder, out=results, root=out, params=paragraphs, runner=runner, removed=removed
        )
        cut["paragraphs"], last_in = last, results
    if substring:
        shards = _carrying(last_in, last, out)
        work = out / "substring"
        last = cut_repeats(shards, work=work, out=out, root=out, params=substring, runner=runner, removed=removed)
        cut["substring"] = last
    return _write_funnel(out, language_funnel(read=read, dedup=near, **cut))


def _carrying(folder: Path, receipts: Sequence[Receipt], root: Path) -> list[Shard]:
    """The kept documents of finished shards, with what was removed and cut on the way to them."""
    from corpuskit.dedup.spans import with_earlier

    shards = []
    for shard, receipt in zip(documents(folder, receipts, root), receipts, strict=True):
        removed, spans = (as_inputs(folder, [receipt], kind, root) for kind in ("removed", "spans"))
        shards.append(with_earlier(replace(shard, labels={**shard.labels, "priority": "0"}), [*removed, *spans]))
    return shards


def scrub_files(shards: Sequence[Shard], lang: str, *, out: Path, runner: Runner) -> dict[str, Any]:
    """Mask personal information of foreign files into `out`; returns and writes funnel.json."""
    types = config.load_pipeline(lang).privacy
    read, documents = _read_files(shards, out, runner)
    receipts = scrub(documents, out=out, types=types, runner=runner)
    return _write_funnel(out, language_funnel(read=read, scrub=receipts))


def pack_files(shards: Sequence[Shard], lang: str, tokenizer: str, *, out: Path, runner: Runner) -> dict[str, Any]:
    """Encode foreign files into bins in `out`."""
    from corpuskit.bins.pack import pack_language
    from corpuskit.sources.streams import as_input

    if not Path(tokenizer).is_file():
        raise UserError(f"--tokenizer {tokenizer}: no such file")
    _, documents = _read_files(shards, out, runner)
    receipts = pack_language(lang, documents, as_input(tokenizer), out=out, runner=runner)
    return {"documents": sum(r.counts["in"] for r in receipts), "tokens": sum(r.counts["tokens"] for r in receipts)}


def _read_files(shards: Sequence[Shard], out: Path, runner: Runner) -> tuple[list[Receipt], list[Shard]]:
    """Foreign files as documents files, in out/read: the receipts, and the shards for the step to come."""
    from corpuskit.sources.read import STAGE

    receipts = map_shards(STAGE, with_rules(shards), out=out / "read", params={}, runner=runner)
    _say_empty(receipts)
    return receipts, documents(out / "read", receipts, out)


def _say_empty(receipts: Sequence[Receipt]) -> None:
    """Files that have bytes and gave nothing at all, no broken record either, were hardly what they were read as."""
    wrong = [
        f"{whole['name']}: nothing in it could be read as {receipt.labels['reader']}"
        for receipt in receipts
        if not receipt.counts["in"] and not receipt.counts["skipped"]
        for whole in receipt.inputs[:1]
        if whole["size"] and whole["start"] is None
    ]
    if wrong:
        more = f", and {len(wrong) - 1} more such files" if len(wrong) > 1 else ""
        log.warning("%s%s; name the right reader with --reader", wrong[0], more)


def _write_funnel(out: Path, funnel: dict[str, Any]) -> dict[str, Any]:
    write_json(out / "funnel.json", funnel)
    return funnel
