"""The spans that the corpus has most often, for people to look at: report/most_repeated.jsonl of `substring`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from corpuskit.dedup.spans import Spans, id_column
from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Stage
from corpuskit.privacy.detect import find, mask

_TOP = 100  # spans in the report, of at least half the length, chosen among so many of every file:
_TOP_OF_FILE = 1000
_EXCERPT = 200  # characters shown of each, and so many more are looked at for an address that is cut off there
_MARGIN = 320  # an e-mail address has 254 at most (RFC 5321)


def most_repeated(batch: pa.RecordBatch, spans: Spans, least: int) -> list[dict[str, Any]]:
    """The spans of a batch of at least so many characters that the corpus has most often, with what they say."""
    length = spans.end - spans.start
    long = np.flatnonzero(length >= least)
    places = np.stack([-spans.copies, -length, spans.first_start])[:, long]
    keys = (places[2], spans.first_low[long], spans.first_high[long], places[1], places[0])
    order = long[np.lexsort(keys)]
    same = np.zeros(len(order), np.bool_)  # the same span in several texts counts once
    for values in (spans.copies, length, spans.first_high, spans.first_low, spans.first_start):
        same |= np.append(True, values[order[1:]] != values[order[:-1]])[: len(order)]
    chosen = order[same][:_TOP_OF_FILE]
    ids = id_column(spans.first_high[chosen], spans.first_low[chosen]).to_pylist()
    texts = batch.column("text")
    found = []
    for k, first in zip(chosen, ids, strict=True):
        said = texts[int(spans.row[k])].as_py()[spans.start[k] : min(spans.end[k], spans.start[k] + _EXCERPT + _MARGIN)]
        place = {"first_id": first, "first_start": int(spans.first_start[k])}
        found.append({"count": int(spans.copies[k]), "characters": int(length[k]), **place, "text": said})
    return found


def best(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spans that the corpus has most often, each once. What is among them depends on no cut into files."""
    places = {(-t["count"], -t["characters"], t["first_id"], t["first_start"]): t for t in found}
    return [places[place] for place in sorted(places)[:_TOP_OF_FILE]]


def report(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The most repeated spans of all files, personal information masked: `most_repeated.jsonl`."""
    found: list[dict[str, Any]] = []
    for top in shard.inputs:  # one after the other: there may be many
        found = best([*found, *map(orjson.loads, Path(top.path).read_bytes().splitlines())])
    taken: dict[str, list[tuple[int, int]]] = {}
    shown: list[dict[str, Any]] = []
    for span in found:
        start, end = span["first_start"], span["first_start"] + span["characters"]
        others = taken.setdefault(span["first_id"], [])
        if not any(start < b and a < end for a, b in others):  # of those that overlap only the best
            others.append((start, end))
            shown.append(span)
    with open(scratch / "_.jsonl", "wb") as file:
        for span in shown[:_TOP]:
            text = excerpt(span["text"])
            file.write(orjson.dumps({**span, "text": text}, option=orjson.OPT_APPEND_NEWLINE))
    return {"spans": len(shown[:_TOP])}


def excerpt(text: str) -> str:
    """The first characters of a span, masked. What is personal at their end is found as a whole and masked as one."""
    column = pa.array([text], pa.string())
    findings = [f for f in find(column, ("email", "phone_jp")) if f.start < _EXCERPT]
    end = max([_EXCERPT, *(f.end for f in findings)])
    return str(mask(pa.array([text[:end]], pa.string()), findings)[0].as_py())


REPORT = Stage("dedup_most_repeated", 2, report)
