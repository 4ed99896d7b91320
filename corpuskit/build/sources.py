"""Which upstream files a build takes, how they are fetched, and the shards they make."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpuskit import config, rulesets
from corpuskit.build.stages import earlier_corpus
from corpuskit.build.workspace import Workspace
from corpuskit.config import KeepRemoved, Pipeline, Profile, Source, UserError, suggest
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import map_shards
from corpuskit.engine.store import as_inputs
from corpuskit.rulesets import RuleSet


@dataclass(frozen=True, slots=True)
class CorpusRequest:
    """One language to build: what `corpuskit corpus` was asked for."""

    pipeline: Pipeline
    profile_name: str
    profile: Profile
    rules: RuleSet
    sources: Sequence[Source]
    mirror: str | None
    lid_model: str | None = None
    against: Sequence[Shard] = ()  # the documents of an earlier corpus
    removed: KeepRemoved = "all"  # what is written of duplicates


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


def plan_corpus(
    lang: str,
    profile: str,
    mirror: str | None,
    only: Sequence[str],
    shards: str | None,
    lid_model: str | None,
    preset: str | None = None,
    against: Path | None = None,
    removed: KeepRemoved = "all",
) -> list[CorpusRequest]:
    """The languages a `corpus` command builds: the one asked for, then those its profile brings along.

    Raises:
        UserError: unknown language, profile, source, shards or rules, or no earlier corpus where one was named.
    """
    pipeline = config.load_pipeline(lang)
    chosen = pipeline.profile(profile)
    sources = resolve_sources(pipeline, chosen, only, shards)
    rules = rulesets.load_rules(lang, preset or pipeline.rules)
    old = earlier_corpus(against, lang) if against else []
    requests = [CorpusRequest(pipeline, profile, chosen, rules, sources, mirror, lid_model, old, removed)]
    for other in chosen.also:
        along = config.load_pipeline(other)
        along_profile = along.profile(profile)
        along_sources = resolve_sources(along, along_profile, (), "all" if shards == "all" else None)
        along_rules = rulesets.load_rules(other, along.rules)
        old = earlier_corpus(against, other) if against and (against / "dedup" / other).is_dir() else []
        requests.append(
            CorpusRequest(along, profile, along_profile, along_rules, along_sources, mirror, lid_model, old, removed)
        )
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


def source_files(source: Source) -> list[str]:
    """Every upstream file of a source, those beside its data included."""
    return [*source.urls(), *((source.index,) if source.index else ())]


def mirror_folder(mirror: str | None) -> str | None:
    """A mirror as the downloader takes it: 'sample' is the one in the package."""
    return str(config.sample_dir()) if mirror == "sample" else mirror


def fetch_sources(space: Workspace, sources: Sequence[Source], mirror: str | None) -> dict[str, Input]:
    """Fetch every file of the sources; returns them by URL."""
    from corpuskit.sources.fetch import fetch_all

    urls = [url for s in sources for url in source_files(s)]
    return fetch_all(urls, space.root / "raw", mirror_folder(mirror), expected=sum(s.bytes for s in sources))


def check_sources(root: Path, requests: Sequence[CorpusRequest]) -> dict[str, int]:
    """Compare what was fetched with its records and with upstream; see corpuskit/sources/fetch.py."""
    from corpuskit.sources.fetch import check_all

    counts: dict[str, int] = {}
    for request in requests:
        urls = [url for s in request.sources for url in source_files(s)]
        found = check_all(urls, root / "raw", mirror_folder(request.mirror or request.profile.mirror))
        counts = {key: counts.get(key, 0) + value for key, value in found.items()}
    return counts


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


def describe(requests: Sequence[CorpusRequest]) -> dict[str, Any]:
    """The resolved plan, for --dry-run: files, bytes (0: not known before fetching), steps, disk need."""
    first = requests[0]
    further = [s for s in ("paragraphs", "substring") if any(getattr(r.pipeline, s) for r in requests)]
    return {
        "profile": first.profile_name,
        "steps": ["download", "clean", "decide", "dedup", *further, "scrub", "tokenizer", "pack", "report"],
        "disk_bytes": sum(_disk_bytes(r) for r in requests),
        "notes": part_notes(requests),
        "languages": {
            r.pipeline.lang: {
                "rules": r.rules.name,
                "dedup": _describe_dedup(r),
                "mirror": r.mirror or r.profile.mirror,
                "sources": [
                    {"name": s.name, "files": len(s.urls()), "bytes": s.bytes, "first": s.urls()[0]} for s in r.sources
                ],
            }
            for r in requests
        },
    }


def _describe_dedup(request: CorpusRequest) -> dict[str, Any]:
    """What deduplication finds and needs, for compressed sources and documents of usual size."""
    from corpuskit.dedup.curve import describe

    text = 3 * sum(s.bytes for s in request.sources)
    return describe(request.pipeline.dedup, text // 5000, text)


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


def _disk_bytes(request: CorpusRequest) -> int:
    """What a build needs on disk at most, roughly: the profile's figure, or the share of it for a part of the bytes."""
    whole = sum(s.bytes for s in request.profile.sources)
    part = sum(s.bytes for s in request.sources)
    return request.profile.disk_bytes * part // whole if whole else request.profile.disk_bytes
