"""The clean stage: read, normalise, measure, in one pass over each shard; and decide, where it is given rules.

In a workspace it knows no rules and writes, beside the receipt, documents.parquet and signals.parquet, row by row
beside them; decide.py makes the verdicts from the signals alone. On files that are in no workspace it is given rules
and writes kept.parquet, removed.parquet (with rule and value) and signals.parquet (every document, in reading order,
and its verdict). Either way cut.parquet holds what the line-wise corrections took out, where they are asked for, and
quarantined.parquet is there when there is something to put there.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.config import Measuring
from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import LZ4, NUMBER_ROWS, TableWriter
from corpuskit.filters import cut, upstream, urls, words
from corpuskit.filters.language import language_probability
from corpuskit.filters.removed import RemovedWriter
from corpuskit.filters.rules import KEPT, count_verdicts, from_params, judge, new_counts, rule_column
from corpuskit.filters.signals import FAMILIES, SIGNALS, measure, signals_of
from corpuskit.schema import CUT, DOCUMENT, MEASURED, REMOVED, add_sizes
from corpuskit.sources.read import read_documents
from corpuskit.sources.record import Quarantine
from corpuskit.text.normalize import normalize_counted
from corpuskit.text.shadow import shadow_column

# Everything there is to measure.
ALL_SIGNALS = (*SIGNALS, *words.SIGNALS, *urls.SIGNALS, *upstream.SIGNALS, *cut.SIGNALS, "language_probability")


def signal_names(measuring: Measuring) -> tuple[str, ...]:
    """The signals `clean` measures, in the order of their columns."""
    names = signals_of(_of_the_text(measuring))
    names += words.SIGNALS if "lists" in measuring.signals else ()
    names += urls.SIGNALS if "url" in measuring.signals else ()
    names += upstream.SIGNALS if "upstream" in measuring.signals else ()
    if measuring.lines:
        names += cut.SIGNALS
    return (*names, "language_probability") if measuring.language_id else names


def _of_the_text(measuring: Measuring) -> list[str]:
    """The families that filters/signals.py measures; lists, URLs and upstream's own come after them."""
    return [family for family in measuring.signals if family in FAMILIES]


class Measured(NamedTuple):
    """A column of texts as `clean` leaves it.

    Attributes:
        texts: normalised, and without the lines that were cut.
        signals: float32, one row a document, one column a name of signal_names(measuring).
        pieces: what was cut (cut.PIECE).
    """

    texts: pa.Array
    signals: npt.NDArray[np.float32]
    pieces: pa.RecordBatch | None


def measure_texts(
    texts: pa.Array, links: pa.Array, metas: pa.Array, measuring: Measuring, lid_model: str | None = None
) -> Measured:
    """Normalise, cut and measure a column of texts.

    Args:
        texts: a string column without nulls.
        links: their URLs; may be null.
        metas: their `meta`, where upstream's own signals are; may be null.
        measuring: what to do.
        lid_model: the path of the language model, where `measuring` asks for a language.
    """
    (texts, controls), pieces, last = normalize_counted(texts, measuring.normalize), None, []
    if measuring.lines:
        texts, shadow, shares, pieces = cut.cut_column(texts, measuring.lines)
        last.append(shares)
    else:
        shadow = shadow_column(texts)
    shadow = shadow._replace(controls=shadow.controls + controls)
    if measuring.language_id:
        if lid_model is None:
            raise ValueError("a language is asked for, and there is no model")
        last.append(language_probability(texts, measuring.language_id, lid_model)[:, None])
    families = [measure(shadow, _of_the_text(measuring))]
    if "lists" in measuring.signals:
        families.append(words.measure_lists(shadow, measuring.lang))
    if "url" in measuring.signals:
        families.append(urls.measure_urls(links, measuring.blocklist))
    if "upstream" in measuring.signals:
        families.append(upstream.measure_upstream(metas))
    families += last
    return Measured(texts, np.concatenate(families, axis=1, dtype=np.float32, casting="same_kind"), pieces)


def clean(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Clean one shard. Its second input, where there is one, is the language model.

    Params: the fields of config.Measuring, and `rules` (see rules.as_params; None measures and keeps every document),
    with rules also `removed` (config.KeepRemoved).
    Counts: documents in, kept, quarantined; characters and bytes; with rules, what rules.new_counts has.
    """
    rules = None if params["rules"] is None else from_params(params["rules"])
    measuring = Measuring(**{name: params[name] for name in Measuring.model_fields})
    lid_model = shard.inputs[1].path if measuring.language_id else None
    names = signal_names(measuring)
    measured = pa.schema([*MEASURED, *((n, pa.float32()) for n in names)])
    counts: dict[str, Any] = {
        "source": shard.labels["source"],
        **dict.fromkeys(("in", "quarantined", "chars_in", "bytes_in", "kept", "chars_kept", "bytes_kept"), 0),
        **(new_counts(rules) if rules is not None else {}),
    }
    if rules is None:
        files = {"documents": DOCUMENT, "signals": measured}
    else:
        files = {"kept": DOCUMENT, "signals": measured.append(pa.field("rule", pa.string()))}
    if measuring.lines:
        files["cut"] = CUT
    quarantine = Quarantine(scratch)
    how = {"signals": (LZ4, NUMBER_ROWS)}
    with ExitStack() as stack:
        out = {
            kind: stack.enter_context(TableWriter(scratch / f"{kind}.parquet", schema, *how.get(kind, ())))
            for kind, schema in files.items()
        }
        if rules is not None:
            out["removed"] = stack.enter_context(RemovedWriter(scratch / "removed.parquet", params["removed"]))
        for batch in read_documents(shard, quarantine):
            given = (batch.column("text"), batch.column("url"), batch.column("meta"))
            texts, signals, pieces = measure_texts(*given, measuring, lid_model)
            if pieces is not None:
                ids = batch.column("id").take(pieces.column("row"))
                out["cut"].write(pa.RecordBatch.from_arrays([ids, *pieces.columns[1:]], schema=CUT))
            documents = batch.set_column(1, DOCUMENT.field("text"), texts)
            characters, size = pc.utf8_length(texts).cast(pa.int64()), pc.binary_length(texts).cast(pa.int64())
            columns = [pa.array(np.ascontiguousarray(signals[:, i])) for i in range(len(names))]
            rows = [batch.column("id"), characters, size, *columns]
            counts["in"] += batch.num_rows
            add_sizes(counts, "in", batch.column("text"))
            if rules is None:
                out["documents"].write(documents)
                counts["kept"] += documents.num_rows
                add_sizes(counts, "kept", texts)
            else:
                judged = judge(signals, names, rules)
                dropped = judged.first != KEPT
                rows.append(rule_column(judged, rules))
                out["kept"].write(documents.filter(pa.array(~dropped)))
                leaving = documents.filter(pa.array(dropped))
                why = [pa.array(["clean"] * leaving.num_rows, pa.string()), rows[-1].drop_null()]
                values = pa.array(judged.value[dropped])
                out["removed"].write(pa.RecordBatch.from_arrays([*leaving.columns, *why, values], schema=REMOVED))
                count_verdicts(counts, judged, rules, characters.to_numpy(), size.to_numpy())
            out["signals"].write(pa.RecordBatch.from_arrays(rows, schema=files["signals"]))
    quarantine.close()
    counts["in"] += quarantine.count
    counts["quarantined"] = quarantine.count
    counts["skipped"] = dict(sorted(quarantine.skipped.items()))
    return counts


STAGE = Stage("clean", 8, clean)
