"""The funnel: documents, characters and bytes into and out of every step, summed from receipts.

Always, for every source and in total:  in = kept + dropped + duplicates + quarantined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corpuskit.engine.store import Receipt

TOTAL = ("in", "kept", "dropped", "duplicates", "quarantined")


def language_funnel(
    *,
    read: Sequence[Receipt] = (),
    clean: Sequence[Receipt] = (),
    dedup: Sequence[Receipt] = (),
    scrub: Sequence[Receipt] = (),
) -> dict[str, Any]:
    """The funnel of one language from the receipts of the steps that ran, in their order.

    `read` is a step of its own only where `clean`, which reads as well, did not run.

    Returns:
        `total` and one entry a source in `sources`, each {in, kept, dropped, duplicates, quarantined} in documents and
        `steps`, a list of {step, documents, characters, bytes} from what was read to what is left; `rules`: documents
        dropped by each rule as the first failing one and, for rules on signals, failing it at all; `masked`: findings
        by type.

    Raises:
        ValueError: the numbers do not add up, which would be a bug of a stage.
    """
    stages = {"read": read, "clean": clean, "dedup": dedup, "scrub": scrub}
    sources = sorted({r.counts["source"] for receipts in stages.values() for r in receipts})
    per_source = {
        source: _count({n: [r for r in receipts if r.counts["source"] == source] for n, receipts in stages.items()})
        for source in sources
    }
    funnel = {
        "total": _count(stages),
        "sources": per_source,
        "rules": _rules(clean, dedup),
        "masked": _sum_dicts(r.counts["findings"] for r in scrub),
    }
    for name, counts in (("total", funnel["total"]), *per_source.items()):
        if counts["in"] != sum(counts[k] for k in TOTAL[1:]):
            raise ValueError(f"the funnel of {name} does not add up: {counts}")
    return funnel


def _count(stages: dict[str, Sequence[Receipt]]) -> dict[str, Any]:
    run = [(name, receipts) for name, receipts in stages.items() if receipts]
    if not run:
        return {**dict.fromkeys(TOTAL, 0), "steps": []}
    first, last = run[0][1], run[-1][1]
    steps = [{"step": "read", **_size(first, "in", "in")}]
    steps += [{"step": name, **_size(receipts, "kept", "kept")} for name, receipts in run if name != "read"]
    return {
        "in": _sum(first, "in"),
        "kept": _sum(last, "kept"),
        "dropped": sum(_sum_dicts(r.counts["dropped"] for r in stages["clean"]).values()),
        "duplicates": _sum(stages["dedup"], "duplicates"),
        "quarantined": _sum(first, "quarantined"),
        "steps": steps,
    }


def _size(receipts: Sequence[Receipt], documents: str, side: str) -> dict[str, int]:
    return {
        "documents": _sum(receipts, documents),
        "characters": _sum(receipts, f"chars_{side}"),
        "bytes": _sum(receipts, f"bytes_{side}"),
    }


def _rules(clean: Sequence[Receipt], dedup: Sequence[Receipt]) -> dict[str, dict[str, int]]:
    dropped = _sum_dicts(r.counts["dropped"] for r in clean)
    failing = _sum_dicts(r.counts["failing"] for r in clean)
    order = [rule["name"] for rule in clean[0].params["rules"]] if clean else []
    rules = {name: {"dropped": dropped[name], "failing": failing[name]} for name in order}
    for name, count in _sum_dicts(r.counts["by_rule"] for r in dedup).items():
        rules[name] = {"dropped": count, "failing": count}
    return rules


def _sum(receipts: Sequence[Receipt], name: str) -> int:
    return sum(int(r.counts.get(name, 0)) for r in receipts)


def _sum_dicts(dicts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in dicts:
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return total


def print_funnel(funnels: dict[str, dict[str, Any]]) -> None:
    """The funnels of some languages as one table on stdout: a row a source, a total a language."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Funnel (documents)")
    table.add_column("language")
    table.add_column("source")
    for name in (*TOTAL, "kept %", "kept MB"):
        table.add_column(name, justify="right")
    for lang, funnel in funnels.items():
        for name, counts in (*funnel["sources"].items(), ("total", funnel["total"])):
            share = counts["kept"] / counts["in"] if counts["in"] else 0.0
            size = counts["steps"][-1]["bytes"] / 1e6 if counts["steps"] else 0.0
            style = "bold" if name == "total" else None
            cells = [f"{counts[k]:,}" for k in TOTAL]
            table.add_row(
                lang, name, *cells, f"{100 * share:.1f}", f"{size:,.2f}", style=style, end_section=name == "total"
            )
    Console(width=None if Console().is_terminal else 120).print(table)
