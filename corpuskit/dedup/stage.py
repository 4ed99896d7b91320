"""Deduplication as stages over files.

    sign        one documents file                        -> out/signatures/
    exact       all signatures, by range of hash          -> out/work/url/, out/work/exact/: who goes, for whom
    pairs       all signatures, some bands                -> out/work/pairs/: pairs of candidates
    components  all pairs                                 -> out/work/components/: what is verified together
    extract     one documents file                        -> out/work/texts/: its candidates, by group
    verify      one group from all texts                  -> out/work/verified/: who goes, for whom, at which Jaccard
    outcome     all of that                               -> out/clusters/clusters.parquet, and in removals/ by file
    remove      one documents file and the removals       -> out/kept/, out/removed/, out/signals/

A document is removed when it has the URL, the text or the matching shadow of one that stays, or when the true Jaccard
of their shingle sets is at least the threshold; MinHash only proposes the pairs. cluster.py has the rule in full. The
presets of other systems do without the second look (`verify: sample`): whole components of candidates go but for one.

Memory is bounded by `memory_gb`, whatever the number of documents: hashes and keys are looked at in ranges, texts in
groups, and arrays over all documents are mapped from disk where they are larger than their share. How many ranges and
groups there are decides nothing; what a document looks like does (its text, id, source, and the policy's columns).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from corpuskit.config import Dedup, KeepRemoved
from corpuskit.dedup import components, curve, exact, pairs, urls
from corpuskit.dedup.outcome import OUTCOME
from corpuskit.dedup.remove import REMOVE
from corpuskit.dedup.signatures import SIGN, SIGN_PARAMS, document_files, sign_key
from corpuskit.dedup.verify import EXTRACT, VERIFY
from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner, Stage, map_shards
from corpuskit.engine.store import Receipt, as_inputs

log = logging.getLogger("corpuskit")

_BAND_SHARDS = 8  # of `pairs`, at most: what can be worked on at the same time
_DOCUMENTS_PER_BAND_SHARD = 50_000  # fewer are not worth the files
_BYTES_PER_CANDIDATE_CHAR = 24  # of `verify`, measured: shingle sets, and the copies made while they are gathered


def dedup(
    documents: Sequence[Shard],
    *,
    out: Path,
    root: Path,
    params: Dedup,
    runner: Runner,
    against: Sequence[Shard] = (),
    removed: KeepRemoved = "all",
) -> list[Receipt]:
    """Remove duplicates across all documents; returns the receipts of `remove`, one for each shard, in order.

    Args:
        documents: shards of one DOCUMENT Parquet file each, or of one and a file of ROWS, the only ones that are looked
            at; with the labels `source` and `priority` (an integer as text, the lower the better). With the label
            `signals` one more input is the file of their signals, where `params.quality` is looked up by id.
        out: gets `kept/`, `removed/`, `signals/` and `receipts/`, and the folders of the other stages.
        root: the workspace; recorded names are relative to it.
        params: what counts as a duplicate and who stays.
        runner: how and where shards run.
        against: the documents of an earlier corpus, likewise: they all stay and are not written again. With the label
            `index`, a `sign_key`, one more input is the signatures file they were chosen from; it is used where the
            key is that of this run.
        removed: what `removed/` gets of the documents that go.

    Raises:
        UserError: an id occurs twice, or a file has no such quality signal.
        ShardsFailed: a stage failed for good.
    """
    run = _Run(out, root, params, runner)
    # in order of name, so that even receipts do not know in which order the documents were given
    own = sorted(documents, key=lambda s: s.name)
    old = [replace(s, name=f"against-{s.name}", labels={**s.labels, "frozen": "yes"}) for s in against]
    everything = [*own, *sorted(old, key=lambda s: s.name)]
    total = _announce([document_files(s) for s in everything], params)

    signatures = run.signed(everything)
    label = {"signatures": str(len(signatures))}
    gone: list[Input] = []
    for by in ("url", "text"):
        found = run.exact(by, signatures, gone, total) if by == "text" or "url" in params.exact else []
        label[by] = str(len(found))
        gone += found
    near = run.near(everything, signatures, gone, total) if params.bands else []
    counts = {"signatures": label["signatures"], "url": label["url"], "exact": label["text"], "near": str(len(near))}
    labels = counts | {"own": str(len(own)), "memory": str(run.memory)}
    shard = Shard("clusters", (*signatures, *gone, *near), labels)
    clustered = map_shards(OUTCOME, [shard], out=out / "clusters", params={"drop_all": params.drop_all}, runner=runner)
    removals = as_inputs(out / "clusters", clustered, "removals", root)
    files = [Shard(s.name, (*document_files(s), *removals), {"source": s.labels["source"]}) for s in documents]
    return map_shards(REMOVE, files, out=out, params={"removed": removed}, runner=runner)


class _Run:
    """The stages between documents and outcome, with what they all need."""

    def __init__(self, out: Path, root: Path, params: Dedup, runner: Runner) -> None:
        self.out, self.root, self.params, self.runner = out, root, params, runner
        self.memory = int(params.memory_gb * 1e9)
        self.policy = params.model_dump(include=exact.POLICY_PARAMS)

    def _map(self, stage: Stage, shards: Sequence[Shard], folder: str, params: dict[str, Any]) -> list[Receipt]:
        return map_shards(stage, shards, out=self.out / folder, params=params, runner=self.runner)

    def _inputs(self, receipts: Sequence[Receipt], folder: str, kind: str) -> list[Input]:
        return as_inputs(self.out / folder, receipts, kind, self.root)

    def signed(self, documents: Sequence[Shard]) -> list[Input]:
        """The signature files, in the order of the documents."""
        params = self.params.model_dump(include=SIGN_PARAMS) | {"url": "url" in self.params.exact}
        params["tracking"] = file_sha256(urls.tracking_file()) if params["url"] else None
        params["shadow"] = self.params.bands > 0 or "shadow" in self.params.exact
        key = sign_key(params, SIGN.version)
        documents = [s if s.labels.get("index", key) == key else _without_index(s) for s in documents]
        return self._inputs(self._map(SIGN, documents, "signatures", params), "signatures", "signatures")

    def exact(self, by: str, signatures: list[Input], gone: list[Input], total: int) -> list[Input]:
        """Who goes because of an equal URL (`by` url), or an equal text or shadow (`by` text)."""
        parts = _parts(total * exact.BYTES_PER_ROW, self.memory)
        labels = {"signatures": str(len(signatures)), "parts": str(parts)}
        inputs = (*signatures, *gone)
        shards = [Shard(f"{by}-{n:05d}", inputs, {**labels, "part": str(n)}) for n in range(parts)]
        params = {"by": by, "exact": sorted(self.params.exact), **self.policy}
        return self._inputs(self._map(exact.EXACT_STAGE, shards, f"work/{by}", params), f"work/{by}", "gone")

    def near(self, documents: Sequence[Shard], signatures: list[Input], gone: list[Input], total: int) -> list[Input]:
        """Who goes because of near-duplicates."""
        bands = self.params.bands
        labels = {"signatures": str(len(signatures))}
        parts = str(_parts(total * pairs.BYTES_PER_ROW, self.memory))
        count = min(_BAND_SHARDS, 1 + total // _DOCUMENTS_PER_BAND_SHARD)
        cuts = [bands * n // count for n in range(count + 1)]
        shards = [
            Shard(
                f"bands-{a:04d}", (*signatures, *gone), {**labels, "first": str(a), "last": str(b - 1), "parts": parts}
            )
            for a, b in itertools.pairwise(cuts)
            if a < b
        ]
        found = self._inputs(self._map(pairs.PAIRS, shards, "work/pairs", {"bands": bands}), "work/pairs", "pairs")

        sizes = {"parts": str(_parts(total * 32, self.memory)), "memory": str(self.memory)}
        sizes["group_chars"] = str(max(1, self.memory // (2 * _BYTES_PER_CANDIDATE_CHAR)))
        whole = Shard("all", (*signatures, *gone, *found), {**labels, **sizes, "gone": str(len(gone))})
        verify = {"verify": self.params.verify}
        made = self._map(components.COMPONENTS, [whole], "work/components", verify)
        members = self._inputs(made, "work/components", "members")
        groups = self._inputs(made, "work/components", "pairs")

        start = 0
        shards = []
        for document, signature, member in zip(documents, signatures, members, strict=True):
            shards.append(Shard(document.name, (*document_files(document), signature, member), {"start": str(start)}))
            start += pq.read_metadata(signature.path).num_rows
        texts = self._inputs(self._map(EXTRACT, shards, "work/texts", {}), "work/texts", "texts")

        labels = {"memory": str(self.memory)}
        shards = [Shard(f"group-{n:06d}", (g, *texts), {**labels, "group": str(n)}) for n, g in enumerate(groups)]
        params = self.params.model_dump(include={"shingles", "ngram", "threshold", "transitive"}) | verify | self.policy
        verified = self._map(VERIFY, shards, "work/verified", params)
        self._report(verified)
        return self._inputs(verified, "work/verified", "gone")

    def _report(self, verified: Sequence[Receipt]) -> None:
        """What a look at a sample of the merges gave."""
        measured, false = (sum(r.counts[k] for r in verified) for k in ("measured", "below_threshold"))
        if self.params.verify == "sample" and measured:
            log.warning(
                "dedup: preset %s joins without a second look; of a sample of %d removed documents %.1f%% have a true "
                "Jaccard below %s to the one that stays",
                *(self.params.preset, measured, 100 * false / measured, self.params.threshold),
            )


def _without_index(shard: Shard) -> Shard:
    labels = {name: value for name, value in shard.labels.items() if name != "index"}
    return replace(shard, inputs=document_files(shard), labels=labels)


def _parts(need: int, memory: int) -> int:
    """Ranges in which so many bytes fit into half the memory: a power of two."""
    parts = 1
    while need > parts * memory / 2 and parts < 1 << 16:
        parts *= 2
    return parts


def _announce(documents: Sequence[tuple[Input, ...]], params: Dedup) -> int:
    """Say what is about to happen; returns the number of documents."""
    rows = size = 0
    for files in documents:
        metadata = pq.read_metadata(files[0].path)
        chosen = pq.read_metadata(files[-1].path).num_rows
        whole = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        rows += chosen
        size += whole * chosen // max(1, metadata.num_rows)
    log.info("%s; %s", curve.one_line(params), curve.cost_line(curve.estimate(rows, size, params)))
    return rows
