"""`corpuskit explain`: finds one document in a workspace, or takes one from a file, and says what became of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpuskit import config, rulesets
from corpuskit.build.workspace import follows
from corpuskit.config import UserError, suggest
from corpuskit.engine.store import read_receipts
from corpuskit.engine.tables import read_selected
from corpuskit.filters.explain import Explanation, explain_text, segments, words_of
from corpuskit.filters.rules import check_signals, from_params
from corpuskit.filters.words import LISTS
from corpuskit.schema import MEASURED

_MOST_BYTES = 64 << 20  # of a file that is explained
_RECORDS = (".jsonl", ".json", ".parquet", ".csv", ".gz", ".zst", ".xz", ".bz2", ".warc", ".wet")


def explain(
    target: str, lang: str | None, preset: str | None, workspace: Path, lid_model: str | None
) -> dict[str, Any]:
    """Everything there is to say of one document: for --json as it is, for the terminal by report.explained.

    Args:
        target: an id of the workspace, the path of a text file, or - for standard input.
        lang: its language; for an id, where to look.
        preset: the rules to judge by; by default those the workspace decided by, or the language's own.
        workspace: where an id is looked for.
        lid_model: the language model, for a text that has to be measured.

    Raises:
        UserError: there is no such document, or the rules cannot be asked of it.
    """
    if target != "-" and not _is_file(target) and re.fullmatch(r"[0-9a-f]{32}", target):
        return _of_workspace(target, lang, preset, workspace)
    text = _read(target)
    lang = lang or "ja"
    pipeline = config.load_pipeline(lang)
    rules = rulesets.load_rules(lang, preset or pipeline.rules)
    from corpuskit.filters.clean import signal_names
    from corpuskit.filters.language import find_model

    measuring = pipeline.measuring()
    check_signals(rules, signal_names(measuring))
    model = find_model(lid_model).path if measuring.language_id else None
    found = explain_text(text, measuring, rules.rules, model)
    return {"file": target, "lang": lang, **_described(found, rules.name)}


def _is_file(target: str) -> bool:
    try:
        return Path(target).is_file()
    except OSError:  # too long for a name: a text
        return False


def _read(target: str) -> str:
    if target == "-":
        if sys.stdin is None:
            raise UserError("explain -: there is no standard input")
        content = sys.stdin.buffer.read(_MOST_BYTES + 1)
    else:
        path = Path(target)
        if not _is_file(target):
            raise UserError(f"explain {target[:80]}: no such file, and no id, which is 32 hex digits")
        if path.suffix in _RECORDS:
            raise UserError(
                f"explain {target}: takes the plain text of one document; for records: corpuskit clean --input"
            )
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise UserError(f"explain {target}: larger than {_MOST_BYTES >> 20} MB, which is no one document")
    return content.decode("utf-8", "replace")


def _of_workspace(id_: str, lang: str | None, preset: str | None, workspace: Path) -> dict[str, Any]:
    folder = workspace / "clean"
    known = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if lang is not None and lang not in known:
        raise UserError(f"--lang {lang}: nothing of it is measured in {workspace}{suggest(lang, known)}")
    for each in [lang] if lang else known:
        for receipt in read_receipts(folder / each):
            signals = folder / each / "signals" / f"{receipt.shard}.parquet"
            ids = pq.read_table(signals, columns=["id"])["id"].combine_chunks()
            row = pc.index(ids, pa.scalar(id_, ids.type)).as_py()
            if row >= 0:
                return _found(id_, each, receipt.shard, row, preset, workspace)
    raise UserError(f"explain {id_}: no document of {workspace} has this id")


def _found(id_: str, lang: str, shard: str, row: int, preset: str | None, workspace: Path) -> dict[str, Any]:
    folder = workspace / "clean" / lang
    document, signals = (_row(folder / kind / f"{shard}.parquet", row) for kind in ("documents", "signals"))
    values = {name: value for name, value in signals.items() if name not in MEASURED.names}
    decided = [r for r in read_receipts(workspace / "decide" / lang) if r.shard == shard]
    if preset or not decided:
        chosen = rulesets.load_rules(lang, preset or config.load_pipeline(lang).rules)
        check_signals(chosen, list(values))
        name, rules = chosen.name, list(chosen.rules)
    else:
        name, rules = decided[0].params["preset"], from_params(decided[0].params["rules"])
    pieces = folder / "cut" / f"{shard}.parquet"
    cut = pq.read_table(pieces, filters=[("id", "=", id_)]).to_pylist() if pieces.is_file() else []
    words = words_of(document["text"], lang) if f"{LISTS[0]}_hits" in values else {}
    found = Explanation(values, tuple(rules), tuple(segments(document["text"], cut)), words)
    return {
        "id": id_,
        "shard": shard,
        **{name: document[name] for name in ("url", "source", "lang", "timestamp", "meta")},
        **_described(found, name),
        "duplicate": _removed(workspace, lang, shard, id_, row) if decided else None,
    }


def _removed(workspace: Path, lang: str, shard: str, id_: str, row: int) -> dict[str, Any] | None:
    """The step after `decide` that took a document out, by which rule and value; None: none did.

    Where the step kept no removed documents, or a sample without this one, rule and value are None.
    """
    before = {r.shard: r for r in read_receipts(workspace / "decide" / lang)}[shard]
    rows = pq.read_table(workspace / "decide" / lang / "rows" / f"{shard}.parquet")["row"].combine_chunks()
    if pc.index(rows, pa.scalar(row, rows.type)).as_py() < 0:
        return None
    kind = "rows"
    for step in ("dedup", "paragraphs", "substring"):
        folder = workspace / step / lang
        receipt = {r.shard: r for r in read_receipts(folder)}.get(shard)
        if receipt is None:
            continue
        if not follows(receipt, before, kind):
            return None
        found, kept = (
            pq.read_table(folder / each / f"{shard}.parquet", columns=columns, filters=[("id", "=", id_)]).to_pylist()
            for each, columns in (("removed", ["rule", "value"]), ("kept", ["id"]))
        )
        if found or not kept:
            return {"step": step, **(found[0] if found else {"rule": None, "value": None})}
        before, kind = receipt, "kept"
    return None


def _row(path: Path, row: int) -> dict[str, Any]:
    [(_, batch)] = read_selected(path, np.array([row], np.int64))
    [values] = batch.to_pylist()
    return dict(values)


def _described(found: Explanation, rules: str) -> dict[str, Any]:
    return {
        "rules": rules,
        "verdict": found.verdict(),
        "checks": found.checks(),
        "signals": found.signals,
        "words": found.words,
        "text": [{"text": text, "cut_by": rule} for text, rule in found.segments],
    }
