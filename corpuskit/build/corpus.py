"""`corpuskit corpus` and `report`: one language after the other from its sources to the report."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpuskit.build.sources import CorpusRequest, fetch_sources, plan_clean, resolve_sources
from corpuskit.build.stages import clean, decide, scrub
from corpuskit.build.tokens import pack_corpora, refresh_tokenizer
from corpuskit.build.workspace import Workspace, check_profile, chosen_documents, claim_workspace, documents
from corpuskit.config import Paragraphs, UserError
from corpuskit.engine.plan import Input
from corpuskit.engine.store import Receipt, as_inputs, read_receipts, write_json
from corpuskit.report.funnel import language_funnel

log = logging.getLogger("corpuskit")


def run_corpus(space: Workspace, requests: Sequence[CorpusRequest]) -> dict[str, Any]:
    """Build the requested languages, then tokenizer, bins and report.

    Returns the funnels by language, the bins, the report's path and how many shards ran.
    """
    from corpuskit.filters.clean import signal_names
    from corpuskit.filters.rules import check_signals

    check_profile(space.root, requests[0].profile_name)
    for request in requests:
        check_signals(request.rules, signal_names(request.pipeline.measuring()))
    # everything is fetched before a sample makes room: a wrong --mirror must not cost it
    fetched = [fetch_sources(space, r.sources, r.mirror or r.profile.mirror) for r in requests]
    claim_workspace(space.root, requests[0].profile_name)
    for request, files in zip(requests, fetched, strict=True):
        build_corpus(space, request, files)
    tokenizer = refresh_tokenizer(space, requests[0].profile.vocab_size)
    bins = pack_corpora(space)
    funnels, page = make_report(space)
    tally = space.runner.tally
    return {
        "languages": funnels,
        "tokenizer": tokenizer.counts,
        "bins": bins,
        "report": str(page),
        "shards_run": tally.ran,
        "shards_up_to_date": tally.up_to_date,
        "cpu_seconds": {stage: round(seconds, 2) for stage, seconds in tally.cpu_seconds.items()},
    }


def build_corpus(space: Workspace, request: CorpusRequest, files: dict[str, Input]) -> dict[str, Any]:
    """Clean, decide, deduplicate and scrub one language from its fetched files, by URL; returns its funnel."""
    from corpuskit.dedup.paragraphs import cut_paragraphs
    from corpuskit.dedup.stage import dedup
    from corpuskit.dedup.substring import cut_repeats

    pipeline, root, runner = request.pipeline, space.root, space.runner
    lang = pipeline.lang
    cleaned_in = root / "clean" / lang
    left_out = {r.labels["source"] for r in read_receipts(cleaned_in)} - {s.name for s in request.sources}
    if left_out:
        names = ", ".join(sorted(left_out))
        log.warning("%s: %s was built here before and is left out now: its documents leave the corpus", lang, names)
    cleaned = clean(
        plan_clean(space, lang, request.sources, files),
        out=cleaned_in,
        runner=runner,
        rules=None,
        measuring=pipeline.measuring(),
        lid_model=request.lid_model,
    )
    decided = decide(cleaned, cleaned_in, out=root / "decide" / lang, root=root, rules=request.rules, runner=runner)
    signals: dict[str, tuple[Input, ...]] = {}
    if pipeline.dedup.quality is not None:
        signals = {r.shard: tuple(as_inputs(cleaned_in, [r], "signals", root)) for r in cleaned}
    priorities = {s.name: str(n) for n, s in enumerate(request.profile.sources)}
    deduplicated_in = root / "dedup" / lang
    deduplicated = dedup(
        [
            replace(
                s,
                inputs=(*s.inputs, *signals.get(s.name, ())),
                labels={
                    **s.labels,
                    "priority": priorities[s.labels["source"]],
                    **({"signals": "yes"} if signals else {}),
                },
            )
            for s in chosen_documents(root, lang, cleaned, decided)
        ],
        out=deduplicated_in,
        root=root,
        params=pipeline.dedup,
        runner=runner,
        against=request.against,
        removed=request.removed,
    )
    cut: dict[str, list[Receipt]] = {}
    last_in, last = deduplicated_in, deduplicated
    for step, settings in (("paragraphs", pipeline.paragraphs), ("substring", pipeline.substring)):
        folder = root / step / lang
        if settings is None:
            shutil.rmtree(folder, ignore_errors=True)  # of a pipeline that had it
            continue
        shards = [
            replace(s, labels={**s.labels, "priority": priorities[s.labels["source"]]})
            for s in documents(last_in, last, root)
        ]
        removed = request.removed
        if isinstance(settings, Paragraphs):
            last = cut_paragraphs(
                shards, work=folder, out=folder, root=root, params=settings, runner=runner, removed=removed
            )
        else:
            last = cut_repeats(
                shards, work=folder, out=folder, root=root, params=settings, runner=runner, removed=removed
            )
        cut[step], last_in = last, folder
    scrubbed = scrub(
        documents(last_in, last, root),
        out=root / "corpus" / lang,
        types=pipeline.privacy,
        runner=runner,
    )
    funnel = language_funnel(clean=cleaned, decide=decided, dedup=deduplicated, scrub=scrubbed, **cut)
    write_json(root / "corpus" / lang / "funnel.json", funnel)
    return funnel


def make_report(space: Workspace) -> tuple[dict[str, dict[str, Any]], Path]:
    """Write the report of every language in the workspace; returns their funnels and the page.

    Raises:
        UserError: there is no corpus yet.
    """
    from corpuskit.report.page import write_report

    funnels = {}
    for lang in space.languages("corpus"):
        cleaned, decided, deduplicated, paragraphs, substring, scrubbed = (
            read_receipts(space.root / step / lang)
            for step in ("clean", "decide", "dedup", "paragraphs", "substring", "corpus")
        )
        funnels[lang] = language_funnel(
            clean=cleaned,
            decide=decided,
            dedup=deduplicated,
            paragraphs=paragraphs,
            substring=substring,
            scrub=scrubbed,
        )
    if not funnels:
        raise UserError(f"{space.root}: no corpus yet; build one with: corpuskit corpus --lang ja")
    return funnels, write_report(space.root, funnels)


def closing_lines(space: Workspace, requests: Sequence[CorpusRequest], result: dict[str, Any]) -> list[str]:
    """What a person wants to know at the end of `corpus`, and what to do next."""
    first = requests[0]
    lines = []
    if result["shards_run"] == 0:
        lines.append(f"Everything is up to date: {result['shards_up_to_date']} shards, nothing to do.")
    tokens = ", ".join(f"{lang} {counts['tokens']:,}" for lang, counts in result["bins"].items())
    lines += [f"Corpus: {space.root / 'corpus'}   Tokens: {tokens}", f"Report: {result['report']}"]
    if first.profile_name == "sample" and "full" in first.pipeline.profiles:
        full = first.pipeline.profiles["full"]
        lang, size = first.pipeline.lang, sum(s.bytes for s in full.sources)
        part = sum(s.bytes for s in resolve_sources(first.pipeline, full, (), None))
        lines += [
            f"This was the bundled sample. The real thing: make corpus LANG={lang} PROFILE=full",
            f"(with ARGS='--shards all' about {size / 1e9:,.0f} GB to download, up to "
            f"{full.disk_bytes / 1e12:.1f} TB of disk;"
            f" a first run takes {part / 1e9:,.0f} GB; a small part: "
            f"corpuskit corpus --lang {lang} --profile full --workspace full --source {full.sources[-1].name} "
            "--shards 0-3)",
        ]
    else:
        lines.append(f"Next: {next_steps(space)}")
    return lines


def next_steps(space: Workspace) -> str:
    """The commands that lead from the corpora of a workspace to a training run."""
    from corpuskit.mix.mixture import load_mixture

    where = "" if space.root == Path("workspace") else f" --workspace {space.root}"
    languages = space.languages("corpus")
    steps = [f"corpuskit tokenizer train{where}", f"corpuskit pack{where}", f"corpuskit train{where}"]
    if load_mixture(space.root) is None:
        shares = " ".join(f"--{lang} {1 / len(languages):.2f}" for lang in languages)
        steps.insert(0, f"corpuskit mix {shares}{where}")
    return "; ".join(steps)
