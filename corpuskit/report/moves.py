"""What `corpuskit decide` says in the terminal: new verdicts, or what moves between two sets of rules."""

from __future__ import annotations

from typing import Any

from corpuskit.report.funnel import print_funnel
from corpuskit.report.terminal import harmless

SHOWN = 3  # sampled documents of each rule and direction; --json has all


def print_decided(result: dict[str, Any], cpu_seconds: dict[str, float]) -> None:
    """The funnel of new verdicts, what is stale, and what to do next."""
    print_funnel({result["lang"]: result["funnel"]}, cpu_seconds)
    if result["next"] is None:
        print("The same documents are kept as in the corpus; nothing is stale.")
        return
    if result["stale"]:
        print(f"Of older verdicts now: {', '.join(result['stale'])}")
    print(f"Next (with its --mirror, if it had one): {result['next']}")


def print_moves(result: dict[str, Any]) -> None:
    """What moves, by rule, and some of the documents that do."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    before, after = result["before"], result["after"]
    console = Console(width=None if Console().is_terminal else 120)
    table = Table(title=Text(harmless(f"From {before['rules']} to {after['rules']} ({result['lang']}, documents)")))
    table.add_column("rule")
    for name in ("failing before", "failing after", "leave by it", "return from it"):
        table.add_column(name, justify="right")
    for name, counts in result["rules"].items():
        cells = ["" if counts[k] is None else f"{counts[k]:,}" for k in ("failing_before", "failing_after")]
        table.add_row(Text(harmless(name)), *cells, f"{counts['left']:,}", f"{counts['returned']:,}")
    console.print(table)
    for way, sign in (("left", "-"), ("returned", "+")):
        for rule, samples in result["samples"][way].items():
            print(harmless(f"{rule}: {way} {result['rules'][rule][way]:,}"))
            for sample in samples[:SHOWN]:
                print(harmless(f"  {sign} {sample['id']} ({sample['value']:.4g}) {sample['excerpt'][:100]}"))
    for name, counts in (("before", before), ("after", after)):
        size = f"{counts['characters']:,} characters, {counts['bytes']:,} bytes"
        print(harmless(f"{name}: {counts['rules']} keeps {counts['kept']:,} documents, {size}"))
    left, returned = result["left"], result["returned"]
    print(f"left: {left['documents']:,} documents, {left['characters']:,} characters; "
          f"returned: {returned['documents']:,} documents, {returned['characters']:,} characters")  # fmt: skip
