"""`corpuskit explain` in the terminal: signals beside bounds, the verdict, and the text with what was cut."""

from __future__ import annotations

import math
from typing import Any

from corpuskit.report.terminal import harmless

SHOWN_CHARS = 4000  # of the text; --json has all


def print_explained(found: dict[str, Any]) -> None:
    """One document. What is foreign is shown as text alone: no control character, no markup of its own."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    for name in ("id", "file", "source", "url", "timestamp"):
        if found.get(name):
            console.print(Text(harmless(f"{name}: {found[name]}")))
    table = Table(title=Text(harmless(f"Signals and the rules of {found['rules']}")))
    table.add_column("signal")
    table.add_column("value", justify="right")
    table.add_column("bound", justify="right")
    table.add_column("rule")
    table.add_column("")
    asked = [check["signal"] for check in found["checks"]]
    for check in found["checks"]:
        style = "bold red" if check["fails"] else "green"
        mark = f"fails, severity {check['severity']}" if check["fails"] else "passes"
        cells = (check["signal"], _number(check["value"]), _bound(check), check["name"], mark)
        table.add_row(*(Text(harmless(cell)) for cell in cells), style=style)
    table.add_section()
    for name, value in found["signals"].items():
        if name not in asked:
            table.add_row(Text(harmless(name)), _number(value), style="dim")
    console.print(table)
    for name, words in found["words"].items():
        said = ", ".join(f"{word} {count}" if count > 1 else word for word, count in words.items())
        console.print(Text(harmless(f"{name} words: {said}"), "dim"))
    verdict = found["verdict"]
    if verdict["kept"]:
        console.print(Text(f"Kept by the rules of {harmless(found['rules'])}.", "bold green"))
    else:
        said = f"Dropped by {verdict['rule']}: {_number(verdict['value'])}, severity {verdict['severity']}"
        console.print(Text(harmless(said), "bold red"))
    if found.get("duplicate"):
        duplicate = found["duplicate"]
        said = f"Removed as {duplicate['rule']}"
        if duplicate["rule"] is None:
            said = f"Removed by {duplicate['step']}; its rule is not known, since removed documents were not kept"
        elif duplicate["rule"].endswith("_duplicate") and duplicate["value"] is not None:  # by URL none is measured
            said += f", Jaccard {_number(duplicate['value'])} to the one that stayed"
        console.print(Text(harmless(said), "bold red"))
    console.print(_text(found["text"], coloured=console.color_system is not None))


def _text(segments: list[dict[str, Any]], *, coloured: bool) -> Any:
    """The text; what was cut is struck out, and where there is no colour stands in [- -]."""
    from rich.text import Text

    out = Text("\n")
    left = SHOWN_CHARS
    for segment in segments:
        part = harmless(segment["text"][:left])
        left -= len(part)
        if segment["cut_by"] is None:
            out.append(part)
        else:  # with the line end it takes along, before it or behind it
            out.append("\n" if part.startswith("\n") else "")
            out.append(part.strip("\n") if coloured else f"[-{part.strip()}-]", "strike red" if coloured else "")
            out.append(f" ({harmless(segment['cut_by'])})", "dim red")
            out.append("\n" if part.endswith("\n") else "")
        if left <= 0:
            out.append(" ...", "dim")
            break
    return out


def _number(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) and value == int(value) else f"{value:.4g}"


def _bound(check: dict[str, Any]) -> str:
    bounds = [f"{sign} {check[key]:g}" for key, sign in (("min", ">="), ("max", "<=")) if check[key] is not None]
    return " and ".join(bounds)
