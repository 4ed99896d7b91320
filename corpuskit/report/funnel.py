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
    decide: Sequence[Receipt] = (),
    dedup: Sequence[Receipt] = (),
    paragraphs: Sequence[Receipt] = (),
    substring: Sequence[Receipt] = (),
    scrub: Sequence[Receipt] = (),
) -> dict[str, Any]:
    """The funnel of one language from the receipts of the steps that ran, in their order.

    `read` is a step of its own only where `clean`, which reads as well, did not run; `decide` only where `clean`
    measured and decided nothing.

    Returns:
        `total` and one entry a source in `sources`, each {in, kept, dropped, duplicates, quarantined} in documents,
        `steps`, a list of {step, documents, characters, bytes} from what was read to what is left, and `rules`; `rules`
        of the total once more; `cut`: by rule, what left texts that stayed, in documents touched, spans, characters and
        bytes; `masked`: findings by type. Of each rule: `dropped` (documents that failed it first),
        `failing` (that failed it at all), `only_failing` (that failed no other), for rules on signals also
        `dropped_characters`, `dropped_bytes` and, with more than one, `severities` (dropped, by rising severity).

    Raises:
        ValueError: the numbers do not add up, which would be a bug of a stage.
    """
    stages = {
        "read": read,
        "clean": clean,
        "decide": decide,
        "dedup": dedup,
        "paragraphs": paragraphs,
        "substring": substring,
        "scrub": scrub,
    }
    sources = sorted({r.counts["source"] for receipts in stages.values() for r in receipts})
    per_source = {
        source: _count({n: [r for r in receipts if r.counts["source"] == source] for n, receipts in stages.items()})
        for source in sources
    }
    total = _count(stages)
    funnel = {
        "total": total,
        "sources": per_source,
        "rules": total["rules"],
        "cut": {
            rule: _sum_dicts(r.counts["cut"][rule] for r in receipts if rule in r.counts["cut"])
            for receipts in (paragraphs, substring)
            for rule in sorted({rule for r in receipts for rule in r.counts["cut"]})
        },
        "masked": _sum_dicts(r.counts["findings"] for r in scrub),
    }
    for name, counts in (("total", total), *per_source.items()):
        if counts["in"] != sum(counts[k] for k in TOTAL[1:]):
            raise ValueError(f"the funnel of {name} does not add up: {counts}")
    return funnel


def _count(stages: dict[str, Sequence[Receipt]]) -> dict[str, Any]:
    run = [(name, receipts) for name, receipts in stages.items() if receipts]
    if not run:
        return {**dict.fromkeys(TOTAL, 0), "steps": [], "rules": {}}
    first, last = run[0][1], run[-1][1]
    steps = [{"step": "read", **_size(first, "in", "in")}]
    steps += [{"step": name, **_size(receipts, "kept", "kept")} for name, receipts in run if name != "read"]
    decided = stages["decide"] or stages["clean"]
    duplicates = [*stages["dedup"], *stages["paragraphs"], *stages["substring"]]
    return {
        "in": _sum(first, "in"),
        "kept": _sum(last, "kept"),
        "dropped": sum(_sum_dicts(r.counts.get("dropped", {}) for r in decided).values()),
        "duplicates": _sum(duplicates, "duplicates"),
        "quarantined": _sum(first, "quarantined"),
        "steps": steps,
        "rules": _rules(decided, duplicates),
    }


def _size(receipts: Sequence[Receipt], documents: str, side: str) -> dict[str, int]:
    return {
        "documents": _sum(receipts, documents),
        "characters": _sum(receipts, f"chars_{side}"),
        "bytes": _sum(receipts, f"bytes_{side}"),
    }


_OF_RULE = {
    "dropped": "dropped",
    "dropped_characters": "chars_dropped",
    "dropped_bytes": "bytes_dropped",
    "failing": "failing",
    "only_failing": "only_failing",
}


def _rules(decided: Sequence[Receipt], dedup: Sequence[Receipt]) -> dict[str, dict[str, Any]]:
    sums = {name: _sum_dicts(r.counts[count] for r in decided) for name, count in _OF_RULE.items()}
    rules: dict[str, dict[str, Any]] = {}
    for rule in decided[0].params["rules"] if decided else ():
        name = rule["name"]
        rules[name] = {key: counts[name] for key, counts in sums.items()}
        if rule["severities"]:
            by_shard = [r.counts["severities"][name] for r in decided]
            rules[name]["severities"] = [sum(counts) for counts in zip(*by_shard, strict=True)]
    for name, count in _sum_dicts(r.counts["by_rule"] for r in dedup).items():
        rules[name] = {"dropped": count, "failing": count, "only_failing": count}
    return rules


def _sum(receipts: Sequence[Receipt], name: str) -> int:
    return sum(int(r.counts.get(name, 0)) for r in receipts)


def _sum_dicts(dicts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in dicts:
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return total


def print_funnel(funnels: dict[str, dict[str, Any]], cpu_seconds: dict[str, float] | None = None) -> None:
    """The funnels of some languages as tables on stdout: by source, by step, by rule.

    Args:
        funnels: by language.
        cpu_seconds: what the stages that ran took, which is shown and never written.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 120)
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
    console.print(table)
    rules = Table(title="Rules (documents)")
    rules.add_column("language")
    rules.add_column("rule")
    for name in ("dropped", "failing", "only failing", "dropped MB"):
        rules.add_column(name, justify="right")
    for lang, funnel in funnels.items():
        for rule, counts in funnel["rules"].items():
            if counts["failing"]:
                cells = [f"{counts[k]:,}" for k in ("dropped", "failing", "only_failing")]
                size = f"{counts['dropped_bytes'] / 1e6:,.2f}" if "dropped_bytes" in counts else ""
                rules.add_row(lang, rule, *cells, size)
        rules.add_section()
    if rules.row_count:
        console.print(rules)
    for lang, funnel in funnels.items():
        for rule, cut in funnel["cut"].items():
            print(
                f"{lang}: {rule} took {cut['characters']:,} characters out of {cut['documents']:,} documents that stay"
            )
    if cpu_seconds:
        print(f"CPU seconds: {', '.join(f'{stage} {seconds:.1f}' for stage, seconds in cpu_seconds.items())}")
