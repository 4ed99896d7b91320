"""`corpuskit decide`: verdicts anew on what a workspace has measured, or what would move if there were other rules."""

from __future__ import annotations

import functools
import logging
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpuskit import config, rulesets
from corpuskit.build.sources import resolve_sources
from corpuskit.build.stages import check_measured, decide, signal_shards
from corpuskit.build.workspace import Workspace, follows, held_profile
from corpuskit.config import UserError, suggest
from corpuskit.engine.plan import Shard
from corpuskit.engine.store import RECEIPTS, SCRATCH, Receipt, read_receipts
from corpuskit.report.funnel import language_funnel
from corpuskit.rulesets import RuleSet

log = logging.getLogger("corpuskit")


@dataclass(frozen=True, slots=True)
class DecidePlan:
    """What `corpuskit decide` was asked for."""

    lang: str
    rules: RuleSet
    given: str | None  # --rules as it was said
    other: RuleSet | None  # --diff
    cleaned: Sequence[Receipt]
    shards: Sequence[Shard]  # a signals file each


def plan_decide(space: Workspace, lang: str | None, preset: str | None, other: str | None) -> DecidePlan:
    """Resolve everything a user can get wrong before work starts.

    Raises:
        UserError: nothing is measured here, the language is unclear, or the rules cannot be asked of these signals.
    """
    lang = _language(space, lang, preset or other)
    folder = space.root / "clean" / lang
    cleaned = read_receipts(folder)
    again = f"corpuskit corpus --lang {lang}, with the options it was built with"
    damaged = {p.stem for p in (folder / RECEIPTS).glob("*.json")} - {r.shard for r in cleaned}
    if damaged:
        raise UserError(f"{folder / RECEIPTS / min(damaged)}.json: is damaged; to measure what it is of again: {again}")
    if (folder / SCRATCH).exists() or (folder / "failed.json").exists():
        log.warning(
            "%s: was interrupted, or a shard failed; only what is measured is decided. To finish: %s", folder, again
        )
    if not all(any(o.path.startswith("documents/") for o in r.outputs) for r in cleaned):
        raise UserError(f"{folder}: was cleaned by an earlier version; run: corpuskit corpus --lang {lang}")
    rules = rulesets.load_rules(lang, preset or config.load_pipeline(lang).rules)
    compared = rulesets.load_rules(lang, other) if other else None
    shards = signal_shards(cleaned, folder, space.root)
    for asked in (rules, compared):
        if asked is not None:
            check_measured(asked, shards)
    return DecidePlan(lang, rules, preset, compared, cleaned, shards)


def _language(space: Workspace, lang: str | None, preset: str | None) -> str:
    """The language that is meant: the one named, the one of the rules, or the only one that is here."""
    measured = space.languages("clean")
    if not measured:
        raise UserError(f"{space.root}: nothing is measured here; build a corpus with: corpuskit corpus --lang ja")
    if lang is not None:
        if lang not in measured:
            raise UserError(f"--lang {lang}: nothing of it is measured in {space.root}{suggest(lang, measured)}")
        return lang
    if preset is None:
        fitting = measured
    elif config.is_path(preset):
        fitting = [rulesets.load_rule_file(preset).lang]
        if fitting[0] not in measured:
            raise UserError(f"--rules {preset}: rules for {fitting[0]}, of which {space.root} has measured nothing")
    else:
        known = {name for each in measured for name in rulesets.presets(each)}
        if preset not in known:
            raise UserError(f"--rules {preset}: no such preset{suggest(preset, known)}")
        fitting = [each for each in measured if preset in rulesets.presets(each)]
    if len(fitting) > 1:
        raise UserError(f"--lang: say which language is meant: {', '.join(fitting)}")
    return fitting[0]


def describe_decide(plan: DecidePlan) -> dict[str, Any]:
    """What --dry-run says: language, rules, files and bytes of the signals that are read."""
    return {
        "lang": plan.lang,
        "rules": plan.rules.name,
        "diff": plan.other.name if plan.other else None,
        "files": len(plan.shards),
        "bytes": sum(shard.inputs[0].size for shard in plan.shards),
        "documents": sum(r.counts["kept"] for r in plan.cleaned),
    }


def decide_again(space: Workspace, plan: DecidePlan) -> dict[str, Any]:
    """Write the verdicts; returns their funnel, what is stale now, and the command that goes on."""
    lang = plan.lang
    decided = decide(
        plan.cleaned,
        space.root / "clean" / lang,
        out=space.root / "decide" / lang,
        root=space.root,
        rules=plan.rules,
        runner=space.runner,
    )
    deduplicated = {r.shard: r for r in read_receipts(space.root / "dedup" / lang)}
    fresh = all(r.shard in deduplicated and follows(deduplicated[r.shard], r, "rows") for r in decided)
    made = [name for name in (f"dedup/{lang}", f"corpus/{lang}", "tokenizer", f"bins/{lang}", "report")
            if (space.root / name).is_dir()]  # fmt: skip
    return {
        "lang": lang,
        "rules": plan.rules.name,
        "funnel": language_funnel(clean=plan.cleaned, decide=decided),
        "stale": [] if fresh else made,
        "next": None if fresh else corpus_command(space, plan),
        "shards_run": space.runner.tally.ran,
        "shards_up_to_date": space.runner.tally.up_to_date,
    }


def corpus_command(space: Workspace, plan: DecidePlan) -> str:
    """The command that makes the corpus by these verdicts, on the files that have been cleaned."""
    profile = held_profile(space.root)
    pipeline = config.load_pipeline(plan.lang)
    words = ["corpuskit", "corpus", "--lang", plan.lang]
    if profile != "sample":
        words += ["--profile", profile]
    if plan.rules.name != pipeline.rules:
        words += ["--rules", plan.given or plan.rules.name]
    known = pipeline.profile(profile)
    usual = {s.name: s for s in resolve_sources(pipeline, known, (), None)}
    shards_of: dict[str, set[int]] = {}
    for receipt in plan.cleaned:
        name = receipt.counts["source"]
        shards_of.setdefault(name, set()).add(int(receipt.shard.removeprefix(f"{name}-").split("-")[0]))
    if set(shards_of) != set(usual):
        words += [word for name in usual if name in shards_of for word in ("--source", name)]
    for source in known.sources:
        numbers = sorted(shards_of.get(source.name, ()))
        if source.shards and numbers and numbers != list(usual[source.name].shard_numbers()):
            whole = numbers == list(source.shard_numbers())
            words += ["--shards", "all" if whole else f"{numbers[0]}-{numbers[-1]}"]
            break
    removed = {r.params.get("removed", "all") for r in read_receipts(space.root / "dedup" / plan.lang)} - {"all"}
    words += ["--removed", *removed] if len(removed) == 1 else []
    if space.root != Path("workspace"):
        words += ["--workspace", str(space.root)]
    return shlex.join(words)


def compare_rules(space: Workspace, plan: DecidePlan) -> dict[str, Any]:
    """What moves from the rules of --diff to those of --rules; nothing is written.

    Signals are read by threads, since the work is done outside of Python; sums do not depend on how many.
    """
    import pyarrow as pa

    from corpuskit.filters.diff import LEFT, add, compare
    from corpuskit.filters.sample import SAMPLE, smallest
    from corpuskit.report.samples import excerpt, read_texts

    if plan.other is None:
        raise ValueError("there is nothing to compare with")
    other = plan.other
    with ThreadPoolExecutor(space.runner.workers) as pool:
        moves = list(pool.map(lambda shard: compare(shard.inputs[0].path, other, plan.rules), plan.shards))
    total = functools.reduce(add, moves)
    named = SAMPLE.append(pa.field("shard", pa.string()))
    candidates = [
        m.samples.append_column(named.field("shard"), pa.array([s.name] * m.samples.num_rows, pa.string()))
        for m, s in zip(moves, plan.shards, strict=True)
    ]
    chosen = smallest(pa.concat_tables(candidates)).to_pylist()
    texts = read_texts(space.root / "clean" / plan.lang / "documents", chosen)
    samples: dict[str, dict[str, list[dict[str, Any]]]] = {"left": {}, "returned": {}}
    for row in chosen:
        way = samples["left" if row["severity"] == LEFT else "returned"].setdefault(row["rule"], [])
        way.append({"id": row["id"], "value": row["value"], "excerpt": excerpt(texts[row["shard"], row["row"]])})
    names = dict.fromkeys(r.name for rules in (other, plan.rules) for r in rules.rules)
    return {
        "lang": plan.lang,
        "before": {"rules": other.name, **_kept(total.before)},
        "after": {"rules": plan.rules.name, **_kept(total.after)},
        "left": {k: total.left[k] for k in ("documents", "characters", "bytes")},
        "returned": {k: total.returned[k] for k in ("documents", "characters", "bytes")},
        "rules": {
            name: {
                "failing_before": total.before["failing"].get(name),
                "failing_after": total.after["failing"].get(name),
                "left": total.left["rules"].get(name, 0),
                "returned": total.returned["rules"].get(name, 0),
            }
            for name in names
        },
        "samples": samples,
    }


def _kept(counts: dict[str, Any]) -> dict[str, int]:
    return {
        "kept": counts["kept"],
        "dropped": sum(counts["dropped"].values()),
        "characters": counts["chars_kept"],
        "bytes": counts["bytes_kept"],
    }
