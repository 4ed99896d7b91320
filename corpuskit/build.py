"""The stages in their order, on a workspace or on foreign files. No step knows another; they meet here.

raw/        what was fetched                      mirrors of the hosts' paths, each file with its receipt
split/      streams cut into parts                (CC-100)
clean/      kept, removed, signals, quarantined   per language
dedup/      signatures, clusters, kept, removed   per language
corpus/     kept, findings                        per language: the corpus
tokenizer/  tokenizer.model
bins/       token bins and manifest               per language
mix/        mixture.json
train/      runs
report/     funnel.json, index.html
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from corpuskit import config
from corpuskit.config import Dedup, Pipeline, Profile, RuleSet, Source, UserError, suggest
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Runner, map_shards, workspace_lock
from corpuskit.engine.store import Receipt, as_inputs, read_receipts, sweep_strays, write_json
from corpuskit.report.funnel import language_funnel

log = logging.getLogger("corpuskit")


@contextmanager
def open_space(
    root: Path, workers: int = 1, executor: Literal["ray", "local"] = "local", *, existing: bool = False
) -> Iterator[Workspace]:
    """A workspace (or the --out folder of a command), held for one run at a time.

    Raises:
        UserError: another run holds it, it must exist and does not, or it is no folder.
    """
    if existing and not root.is_dir():
        raise UserError(f"--workspace {root}: no such folder; build a corpus with: corpuskit corpus --lang ja")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{root}: cannot be made a folder ({error.strerror}); choose another one") from None
    with workspace_lock(root):
        sweep_strays(root, root / "report", root / "mix")
        yield Workspace(root, Runner(executor, workers))


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder one corpus lives in, and the runner that works there."""

    root: Path
    runner: Runner

    def languages(self, step: str) -> list[str]:
        """The languages a step (`corpus`, `bins`, ...) has finished here."""
        folder = self.root / step
        found = (
            (p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")) if folder.is_dir() else ()
        )
        languages = sorted(lang for lang in found if read_receipts(folder / lang))
        if step != "corpus":
            return languages
        unfinished = [lang for lang in languages if not self._finished(lang)]
        for lang in unfinished:
            log.warning("the corpus of %s is unfinished and left out; run: corpuskit corpus --lang %s", lang, lang)
        return [lang for lang in languages if lang not in unfinished]

    def _finished(self, lang: str) -> bool:
        """Whether every shard that was cleaned has come through to the corpus."""
        folders = [self.root / step / lang for step in ("clean", "dedup", "corpus")]
        shards = [{r.shard for r in read_receipts(folder)} for folder in folders]
        return shards[0] == shards[1] == shards[2] and not any((f / "failed.json").exists() for f in folders)

    def corpus_shards(self, lang: str) -> list[Shard]:
        """The finished corpus of a language as shards, each with its one documents file."""
        folder = self.root / "corpus" / lang
        return _documents(folder, read_receipts(folder), self.root)


def resolve_sources(pipeline: Pipeline, profile: Profile, only: Sequence[str], shards: str | None) -> list[Source]:
    """The sources of a profile, cut to the named ones, and numbered files cut to a range.

    Args:
        pipeline: for errors.
        profile: whose sources.
        only: names of sources; none for all.
        shards: a range; 'all'; or None for what the source itself takes first.

    Raises:
        UserError: an unknown source, or a range that leaves the source's own.
    """
    known = {s.name: s for s in profile.sources}
    for name in only:
        if name not in known:
            raise UserError(f"--source {name}: pipeline {pipeline.lang} has no such source{suggest(name, known)}")
    chosen = [s for s in profile.sources if not only or s.name in only]
    if shards == "all":
        return chosen
    if shards is None:
        return [s.cut(s.first_shards, "first_shards") if s.first_shards else s for s in chosen]
    config.parse_range(shards, "--shards")
    if not any(s.shards for s in chosen):
        raise UserError(f"--shards {shards}: none of these sources has numbered files")
    return [s.cut(shards, "--shards") if s.shards else s for s in chosen]


def source_files(source: Source) -> list[str]:
    """Every upstream file of a source, those beside its data included."""
    return [*source.urls(), *((source.index,) if source.index else ())]


def fetch_sources(space: Workspace, sources: Sequence[Source], mirror: str | None) -> dict[str, Input]:
    """Fetch every file of the sources; returns them by URL."""
    from corpuskit.sources.fetch import fetch_all

    urls = [url for s in sources for url in source_files(s)]
    return fetch_all(urls, space.root / "raw", mirror_folder(mirror), expected=sum(s.bytes for s in sources))


def mirror_folder(mirror: str | None) -> str | None:
    """A mirror as the downloader takes it: 'sample' is the one in the package."""
    return str(config.sample_dir()) if mirror == "sample" else mirror


def plan_clean(space: Workspace, lang: str, sources: Sequence[Source], files: dict[str, Input]) -> list[Shard]:
    """The shards of `clean`: a file each, ranges of a multistream dump or of a large file, or parts of a stream."""
    from corpuskit.sources.fields import from_config
    from corpuskit.sources.partition import partition
    from corpuskit.sources.split import STAGE as SPLIT
    from corpuskit.sources.wikipedia import plan_ranges

    shards: list[Shard] = []
    streams: list[Shard] = []
    for source in sources:
        labels = {"source": source.name, "lang": lang, "reader": source.reader}
        if source.reader == "wikipedia" and source.index is not None:
            ranges = plan_ranges(files[source.url], files[source.index].path)
            labels["file"] = source.url
            shards += [Shard(f"{source.name}-{n:05d}", (part,), labels) for n, part in enumerate(ranges)]
        elif source.reader == "cc100":
            streams.append(Shard(source.name, (files[source.url],), {"source": source.name}))
        else:
            labels |= from_config(source.fields).labels()
            for n, url in zip(source.shard_numbers() or range(1), source.urls(), strict=True):
                parts = partition(source.reader, files[url])
                names = part_names(f"{source.name}-{n:05d}", len(parts))
                shards += [Shard(name, (part,), labels) for name, part in zip(names, parts, strict=True)]
    folder = space.root / "split" / lang
    if streams or folder.is_dir():
        receipts = map_shards(SPLIT, streams, out=folder, params={}, runner=space.runner)
        urls = {s.name: s.url for s in sources}
        for receipt in receipts:
            name = receipt.labels["source"]
            labels = {"source": name, "lang": lang, "reader": "parts", "file": urls[name]}
            parts = as_inputs(folder, [receipt], "parts", space.root)
            shards += [Shard(f"{name}-{n:05d}", (part,), labels) for n, part in enumerate(parts)]
    return shards


def part_names(name: str, parts: int) -> list[str]:
    """The shard names of a file: its own, or numbered ones where it is split."""
    return [name] if parts == 1 else [f"{name}-{n:05d}" for n in range(parts)]


def clean(
    shards: Sequence[Shard],
    *,
    out: Path,
    runner: Runner,
    rules: RuleSet,
    normalize: str,
    language: str | None,
    lid_model: str | None = None,
) -> list[Receipt]:
    """Read, normalise, measure and decide; kept/, removed/, signals/ and quarantined/ in `out`.

    Raises:
        UserError: a rule names an unknown signal, or the language model is not to be had.
    """
    from corpuskit.filters.clean import STAGE, signal_names
    from corpuskit.filters.language import find_model
    from corpuskit.filters.rules import check_signals

    check_signals(rules, signal_names(language))
    if language:
        model = find_model(lid_model)
        shards = [replace(s, inputs=(*s.inputs, model)) for s in shards]
    bounds = [r.model_dump(exclude={"source"}) for r in rules.rules]  # a corrected citation redoes nothing
    params = {"normalize": normalize, "language": language, "rules": bounds}
    return map_shards(STAGE, shards, out=out, params=params, runner=runner)


def deduplicate(shards: Sequence[Shard], *, out: Path, root: Path, params: Dedup, runner: Runner) -> list[Receipt]:
    """Remove exact and near duplicates over all given documents files; see corpuskit/dedup."""
    from corpuskit.dedup.stage import dedup

    return dedup(shards, out=out, root=root, params=params, runner=runner)


def scrub(shards: Sequence[Shard], *, out: Path, types: Sequence[str], runner: Runner) -> list[Receipt]:
    """Mask personal information; kept/ and findings/ in `out`."""
    from corpuskit.privacy.scrub import STAGE

    return map_shards(STAGE, shards, out=out, params={"types": list(types)}, runner=runner)


@dataclass(frozen=True, slots=True)
class CorpusRequest:
    """One language to build: what `corpuskit corpus` was asked for."""

    pipeline: Pipeline
    profile_name: str
    profile: Profile
    sources: Sequence[Source]
    mirror: str | None
    lid_model: str | None = None


def plan_corpus(
    lang: str, profile: str, mirror: str | None, only: Sequence[str], shards: str | None, lid_model: str | None
) -> list[CorpusRequest]:
    """The languages a `corpus` command builds: the one asked for, then those its profile brings along.

    Raises:
        UserError: unknown language, profile, source or shards.
    """
    pipeline = config.load_pipeline(lang)
    chosen = pipeline.profile(profile)
    sources = resolve_sources(pipeline, chosen, only, shards)
    requests = [CorpusRequest(pipeline, profile, chosen, sources, mirror, lid_model)]
    for other in chosen.also:
        along = config.load_pipeline(other)
        along_profile = along.profile(profile)
        along_sources = resolve_sources(along, along_profile, (), "all" if shards == "all" else None)
        requests.append(CorpusRequest(along, profile, along_profile, along_sources, mirror, lid_model))
    return requests


def part_notes(requests: Sequence[CorpusRequest]) -> list[str]:
    """A line for every source of which a first part is taken, since nothing else was asked for."""
    whole = {(r.pipeline.lang, s.name): s for r in requests for s in r.profile.sources}
    return [
        f"{s.name} ({r.pipeline.lang}): only shards {s.shards} of {full.shards}; --shards all takes everything, "
        f"{full.bytes / 1e9:,.0f} GB"
        for r in requests
        for s in r.sources
        if (full := whole[r.pipeline.lang, s.name]).first_shards and s.shards == full.first_shards != full.shards
    ]


def describe_download(root: Path, requests: Sequence[CorpusRequest]) -> dict[str, Any]:
    """What --dry-run says about a download: files, bytes (0: not known before fetching) and disk need.

    Nobody is asked: bytes are those the pipeline states, and what is here already is not needed again.
    """
    from corpuskit.sources.fetch import bytes_here

    need = 0
    entries: list[dict[str, Any]] = []
    languages: dict[str, Any] = {}
    for request in requests:
        mirror = mirror_folder(request.mirror or request.profile.mirror)
        in_place = bool(mirror) and "://" not in str(mirror)
        sources: list[dict[str, Any]] = []
        for source in request.sources:
            urls = source_files(source)
            files, size = bytes_here(urls, root / "raw", mirror)
            total = size if in_place else source.bytes
            need += 0 if in_place or files == len(urls) else max(0, total - size)
            entry = {"name": source.name, "files": len(urls), "bytes": total, "files_here": files, "bytes_here": size}
            sources.append(entry | {"first": urls[0], "last": urls[-1]})
        languages[request.pipeline.lang] = {"mirror": request.mirror or request.profile.mirror, "sources": sources}
        entries += sources
    there = next(p for p in (root.resolve(), *root.resolve().parents) if p.exists())
    return {
        "profile": requests[0].profile_name,
        "files": sum(entry["files"] for entry in entries),
        "bytes": sum(entry["bytes"] for entry in entries),
        "disk_need_bytes": need,
        "disk_free_bytes": shutil.disk_usage(there).free,
        "notes": part_notes(requests),
        "languages": languages,
    }


def check_sources(root: Path, requests: Sequence[CorpusRequest]) -> dict[str, int]:
    """Compare what was fetched with its records and with upstream; see corpuskit/sources/fetch.py."""
    from corpuskit.sources.fetch import check_all

    counts: dict[str, int] = {}
    for request in requests:
        urls = [url for s in request.sources for url in source_files(s)]
        found = check_all(urls, root / "raw", mirror_folder(request.mirror or request.profile.mirror))
        counts = {key: counts.get(key, 0) + value for key, value in found.items()}
    return counts


def describe(requests: Sequence[CorpusRequest]) -> dict[str, Any]:
    """The resolved plan, for --dry-run: files, bytes (0: not known before fetching), steps, disk need."""
    first = requests[0]
    return {
        "profile": first.profile_name,
        "steps": ["download", "clean", "dedup", "scrub", "tokenizer", "pack", "report"],
        "disk_bytes": sum(_disk_bytes(r) for r in requests),
        "notes": part_notes(requests),
        "languages": {
            r.pipeline.lang: {
                "rules": r.pipeline.rules,
                "mirror": r.mirror or r.profile.mirror,
                "sources": [
                    {"name": s.name, "files": len(s.urls()), "bytes": s.bytes, "first": s.urls()[0]} for s in r.sources
                ],
            }
            for r in requests
        },
    }


def _disk_bytes(request: CorpusRequest) -> int:
    """What a build needs on disk at most, roughly: the profile's figure, or the share of it for a part of the bytes."""
    whole = sum(s.bytes for s in request.profile.sources)
    part = sum(s.bytes for s in request.sources)
    return request.profile.disk_bytes * part // whole if whole else request.profile.disk_bytes


def run_corpus(space: Workspace, requests: Sequence[CorpusRequest]) -> dict[str, Any]:
    """Build the requested languages, then tokenizer, bins and report.

    Returns the funnels by language, the bins, the report's path and how many shards ran.
    """
    check_profile(space.root, requests[0].profile_name)
    # everything is fetched before a sample makes room: a wrong --mirror must not cost it
    fetched = [fetch_sources(space, r.sources, r.mirror or r.profile.mirror) for r in requests]
    claim_workspace(space.root, requests[0].profile_name)
    for request, files in zip(requests, fetched, strict=True):
        build_corpus(space, request, files)
    tokenizer = refresh_tokenizer(space, requests[0].profile.vocab_size)
    bins = pack(space)
    funnels, page = report(space)
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


def check_profile(root: Path, profile: str) -> str:
    """Keep the corpora of two profiles apart: one workspace holds one profile. Returns the one it holds.

    The sample makes room for another profile, since it is rebuilt in seconds; nothing makes room for the sample.

    Raises:
        UserError: the workspace holds the corpus of another profile.
    """
    path = root / "workspace.json"
    held: str = orjson.loads(path.read_bytes())["profile"] if path.is_file() else profile
    if held not in ("sample", profile):
        raise UserError(f"{root}: holds a corpus of the profile {held}; choose another folder with --workspace")
    return held


def claim_workspace(root: Path, profile: str) -> None:
    """Write down which profile the workspace holds; a sample that was there makes room for another profile.

    Raises:
        UserError: as check_profile.
    """
    if check_profile(root, profile) != profile:
        for step in ("split", "clean", "dedup", "corpus", "tokenizer", "bins", "mix", "report"):
            shutil.rmtree(root / step, ignore_errors=True)
    write_json(root / "workspace.json", {"profile": profile})


def closing_lines(space: Workspace, requests: Sequence[CorpusRequest], result: dict[str, Any]) -> list[str]:
    """What a person wants to know at the end of `corpus`, and what to do next."""
    first = requests[0]
    lines = []
    if result["shards_run"] == 0:
        lines.append(f"Everything is up to date: {result['shards_up_to_date']} shards, nothing to do.")
    tokens = ", ".join(f"{lang} {counts['tokens']:,}" for lang, counts in result["bins"].items())
    if result["cpu_seconds"]:
        spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in result["cpu_seconds"].items())
        lines.append(f"CPU seconds: {spent}")
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


def report(space: Workspace) -> tuple[dict[str, dict[str, Any]], Path]:
    """Write the report of every language in the workspace; returns their funnels and the page.

    Raises:
        UserError: there is no corpus yet.
    """
    from corpuskit.report.page import write_report

    funnels = {}
    for lang in space.languages("corpus"):
        cleaned, deduplicated, scrubbed = (
            read_receipts(space.root / step / lang) for step in ("clean", "dedup", "corpus")
        )
        funnels[lang] = language_funnel(clean=cleaned, dedup=deduplicated, scrub=scrubbed)
    if not funnels:
        raise UserError(f"{space.root}: no corpus yet; build one with: corpuskit corpus --lang ja")
    return funnels, write_report(space.root, funnels)


def build_corpus(space: Workspace, request: CorpusRequest, files: dict[str, Input]) -> dict[str, Any]:
    """Clean, deduplicate and scrub one language from its fetched files, by URL; returns its funnel."""
    pipeline, root, runner = request.pipeline, space.root, space.runner
    lang = pipeline.lang
    cleaned_in = root / "clean" / lang
    cleaned = clean(
        plan_clean(space, lang, request.sources, files),
        out=cleaned_in,
        runner=runner,
        rules=config.load_rules(lang, pipeline.rules),
        normalize=pipeline.normalize,
        language=pipeline.language_id,
        lid_model=request.lid_model,
    )
    priorities = {s.name: str(n) for n, s in enumerate(request.profile.sources)}
    deduplicated_in = root / "dedup" / lang
    deduplicated = deduplicate(
        [
            replace(s, labels={**s.labels, "priority": priorities[s.labels["source"]]})
            for s in _documents(cleaned_in, cleaned, root)
        ],
        out=deduplicated_in,
        root=root,
        params=pipeline.dedup,
        runner=runner,
    )
    scrubbed = scrub(
        _documents(deduplicated_in, deduplicated, root),
        out=root / "corpus" / lang,
        types=pipeline.privacy,
        runner=runner,
    )
    funnel = language_funnel(clean=cleaned, dedup=deduplicated, scrub=scrubbed)
    write_json(root / "corpus" / lang / "funnel.json", funnel)
    return funnel


def _documents(folder: Path, receipts: Sequence[Receipt], root: Path) -> list[Shard]:
    """The kept documents of finished shards, as shards of the same names for the next stage."""
    return [
        Shard(r.shard, tuple(as_inputs(folder, [r], "kept", root)), {"source": r.counts["source"]}) for r in receipts
    ]


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


def pack(space: Workspace) -> dict[str, dict[str, Any]]:
    """Make the bins of every language that has a corpus; returns documents, tokens and bytes of each."""
    from corpuskit.bins.pack import pack_language

    tokenizer = tokenizer_input(space)
    out = {}
    for lang in space.languages("corpus"):
        receipts = pack_language(
            lang, space.corpus_shards(lang), tokenizer, out=space.root / "bins" / lang, runner=space.runner
        )
        out[lang] = {
            "documents": sum(r.counts["in"] for r in receipts),
            "tokens": sum(r.counts["tokens"] for r in receipts),
            "bytes": sum(r.counts["bytes_in"] for r in receipts),
        }
    return out


def foreign_shards(
    patterns: Sequence[str], lang: str, text_field: str, url_field: str, text_unit: str = "file"
) -> list[Shard]:
    """Files that are in no workspace as shards: a file or a range of one each, numbered in order of path.

    Raises:
        UserError: nothing matches, an unknown kind of file, or no such text field.
    """
    from corpuskit.sources.fields import FieldMap
    from corpuskit.sources.partition import partition
    from corpuskit.sources.read import local_reader
    from corpuskit.sources.streams import as_input, expand

    paths = [path for pattern in patterns for path in expand(pattern)]
    shards = []
    for n, path in enumerate(dict.fromkeys(paths)):
        reader = local_reader(path, text_field, text_unit)
        labels = {"source": "input", "lang": lang, "reader": reader, **FieldMap(text_field, url_field).labels()}
        parts = partition(reader, as_input(path, path))
        names = part_names(f"{n:05d}", len(parts))
        shards += [Shard(name, (part,), labels) for name, part in zip(names, parts, strict=True)]
    return shards


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
    normalize: str
    language: str | None


def plan_clean_files(
    lang: str, patterns: Sequence[str], text_field: str, url_field: str, preset: str | None, text_unit: str = "file"
) -> CleanFiles:
    """Resolve everything a user can get wrong before work starts."""
    rules = config.load_rules(lang, preset)
    pipeline = config.load_pipeline(lang)
    shards = foreign_shards(patterns, lang, text_field, url_field, text_unit)
    return CleanFiles(shards, rules, pipeline.normalize, pipeline.language_id)


def clean_files(plan: CleanFiles, *, out: Path, runner: Runner, lid_model: str | None) -> dict[str, Any]:
    """Clean foreign files into `out`; returns and writes funnel.json."""
    receipts = clean(
        plan.shards,
        out=out,
        runner=runner,
        rules=plan.rules,
        normalize=plan.normalize,
        language=plan.language,
        lid_model=lid_model,
    )
    return _write_funnel(out, language_funnel(clean=receipts))


def dedup_files(shards: Sequence[Shard], lang: str, *, out: Path, runner: Runner) -> dict[str, Any]:
    """Deduplicate foreign files into `out`; returns and writes funnel.json."""
    read, documents = _read_files(shards, out, runner)
    documents = [replace(s, labels={**s.labels, "priority": "0"}) for s in documents]
    receipts = deduplicate(documents, out=out, root=out, params=config.load_pipeline(lang).dedup, runner=runner)
    return _write_funnel(out, language_funnel(read=read, dedup=receipts))


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

    receipts = map_shards(STAGE, shards, out=out / "read", params={}, runner=runner)
    return receipts, _documents(out / "read", receipts, out)


def _write_funnel(out: Path, funnel: dict[str, Any]) -> dict[str, Any]:
    write_json(out / "funnel.json", funnel)
    return funnel


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
        try:
            shares[name.removeprefix("--")] = float(value)
        except ValueError:
            raise UserError(f"mix: {name} {value}: a share is a number between 0 and 1") from None
    return shares


def mix(
    space: Workspace,
    shares: dict[str, float],
    *,
    tokens: int | None,
    max_epochs: float,
    seed: int,
    save: bool,
    sequence_length: int = 2048,
) -> dict[str, Any]:
    """Set the workspace's mixture and say what it comes to on the bins, where there are bins of every language.

    The plan is shown for windows of `sequence_length`; a run plans for its own.
    """
    from corpuskit.bins.format import TokenStream
    from corpuskit.mix.mixture import make_mixture, save_mixture
    from corpuskit.mix.order import WindowOrder

    if not 0 < max_epochs < math.inf:
        raise UserError(f"--max-epochs {max_epochs}: a number above 0, such as 4")
    mixture, note = make_mixture(shares, space.languages("corpus"), tokens=tokens, max_epochs=max_epochs, seed=seed)
    result: dict[str, Any] = {"shares": mixture.shares, "note": note, "plan": None, "tokens": None}
    if set(mixture.shares) <= set(space.languages("bins")):
        streams = tuple(TokenStream.open(space.root / "bins" / lang) for lang in sorted(mixture.shares))
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
