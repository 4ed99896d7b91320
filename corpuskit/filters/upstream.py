"""Signals that upstream measured: what OSCAR 23.01 says of its documents, taken from `meta`.

    harmful_pp            perplexity of a language model of adult text; a low one looks like such text. NO_PERPLEXITY at
                          most, and where upstream gives none, so that a lower bound leaves such documents alone
    num_quality_warnings  how many of the five warnings the document has; 0 where upstream gives none
    quality_warning_X     1 where it has the warning X

Source: Abadji et al. 2022 (arXiv 2201.06642), quality warnings; Jansen et al. 2022 (arXiv 2212.10440), harmful_pp.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.sources.fields import find

WARNINGS = ("tiny", "short_sentences", "header", "footer", "noisy")
NO_PERPLEXITY = 1e9
SIGNALS = ("harmful_pp", "num_quality_warnings", *(f"quality_warning_{name}" for name in WARNINGS))


def measure_upstream(metas: pa.Array) -> npt.NDArray[np.float64]:
    """The signals of a column of `meta` (JSON, may be null): one row a document, one column a name of SIGNALS."""
    out = np.zeros((len(metas), len(SIGNALS)), np.float64)
    out[:, 0] = NO_PERPLEXITY
    # most sources say nothing: their rows are not parsed
    told = pc.fill_null(pc.match_substring_regex(metas, '(harmful_pp|quality_warnings)"'), False)
    for row in np.flatnonzero(told.to_numpy(zero_copy_only=False)):
        try:
            meta = orjson.loads(metas[int(row)].as_py())
        except orjson.JSONDecodeError:  # of documents that somebody else wrote
            continue
        fields = meta.get("fields") if isinstance(meta, dict) else None
        if not isinstance(fields, dict):
            continue
        perplexity = _number(find(fields, "metadata.harmful_pp"))
        if perplexity is not None:
            out[row, 0] = min(perplexity, NO_PERPLEXITY)
        warnings = find(fields, "metadata.quality_warnings")
        if isinstance(warnings, list):
            out[row, 2:] = [name in warnings for name in WARNINGS]
            out[row, 1] = out[row, 2:].sum()
    return out


def _number(value: object) -> float | None:
    """A perplexity, or None; upstream may write anything."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
