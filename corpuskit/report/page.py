"""report/funnel.json, samples.json, index.html and, where matplotlib is installed, funnel.svg.

The page is one file: no script, no font, no image from elsewhere. Everything that came from the web is escaped. It
depends on the corpus alone, so that the same corpus gives the same page, byte for byte.
"""

from __future__ import annotations

import html
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from corpuskit.engine.store import write_atomic, write_json
from corpuskit.report.funnel import TOTAL
from corpuskit.report.samples import Sample, removed_samples

_SIZES = ("dropped_characters", "dropped_bytes")
_STYLE = """
body { font: 15px/1.6 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { padding: .25rem .6rem; text-align: right }
th:first-child, td:first-child, td.text { text-align: left } tr + tr { border-top: 1px solid #ddd }
td.text { color: #555; word-break: break-all } .bar { background: #3b78b5; height: .8rem; display: inline-block }
tr.samples { border-top: 0 } tr.samples td { padding-top: 0; font-size: .9em } ul { margin: .2rem 0 }
tr.total { font-weight: 600 } svg { max-width: 100%; height: auto }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #ddd } td.text { color: #aaa } svg { background: #fff }
}
"""


def write_report(workspace: Path, funnels: dict[str, dict[str, Any]]) -> Path:
    """Write the report of a workspace's languages; returns the path of the page."""
    folder = workspace / "report"
    write_json(folder / "funnel.json", {"languages": funnels})
    picture = funnel_picture(funnels) if find_spec("matplotlib") else None
    if picture:
        write_atomic(folder / "funnel.svg", picture)
    samples = {lang: removed_samples(workspace, lang) for lang in funnels}
    listed = {lang: {rule: [s._asdict() for s in of] for rule, of in rules.items()} for lang, rules in samples.items()}
    write_json(folder / "samples.json", listed)
    sections = [_language(lang, funnel, samples[lang]) for lang, funnel in funnels.items()]
    inline = picture[picture.index(b"<svg") :].decode() if picture else ""
    page = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>corpuskit report</title><style>{_STYLE}</style>"
        f"<h1>corpuskit report</h1>{inline}{''.join(sections)}</html>\n"
    )
    path = folder / "index.html"
    write_atomic(path, page.encode())
    return path


def _language(lang: str, funnel: dict[str, Any], samples: dict[str, list[Sample]]) -> str:
    sources = [(name, counts) for name, counts in funnel["sources"].items()]
    rows = [
        f"<tr class='{'total' if name == 'total' else ''}'><td>{html.escape(name)}</td>"
        + "".join(f"<td>{counts[k]:,}</td>" for k in TOTAL)
        + "</tr>"
        for name, counts in (*sources, ("total", funnel["total"]))
    ]
    steps = funnel["total"]["steps"]
    most = max((s["documents"] for s in steps), default=0) or 1
    step_rows = [
        f"<tr><td>{s['step']}</td><td>{s['documents']:,}</td><td>{s['characters']:,}</td><td>{s['bytes']:,}</td>"
        f"<td class='text'><span class='bar' style='width:{20 * s['documents'] / most:.2f}rem'></span></td></tr>"
        for s in steps
    ]
    rule_rows = [
        f"<tr><td>{html.escape(rule)}</td>"
        + "".join(f"<td>{counts[k]:,}</td>" for k in ("dropped", "failing", "only_failing"))
        + "".join(f"<td>{counts[k]:,}</td>" if k in counts else "<td></td>" for k in _SIZES)
        + "</tr><tr class='samples'><td class='text' colspan='6'>"
        + f"{_samples(samples.get(rule, []), counts['dropped'])}</td></tr>"
        for rule, counts in funnel["rules"].items()
        if counts["failing"]
    ]
    masked = ", ".join(f"{html.escape(k)} {v:,}" for k, v in funnel["masked"].items()) or "nothing"
    heads = "".join(f"<th>{k}</th>" for k in TOTAL)
    return (
        f"<h2>{html.escape(lang)}</h2><table><tr><th>source</th>{heads}</tr>{''.join(rows)}</table>"
        "<table><tr><th>after</th><th>documents</th><th>characters</th><th>bytes</th><th></th></tr>"
        f"{''.join(step_rows)}</table>"
        "<table><tr><th>rule</th><th>dropped</th><th>failing</th><th>only failing</th><th>characters dropped</th>"
        "<th>bytes dropped</th></tr>"
        f"{''.join(rule_rows)}</table><p>Masked: {masked}.</p>"
    )


def _samples(samples: list[Sample], dropped: int) -> str:
    """A fold for each severity of a rule: its sampled documents with the measured value."""
    if dropped and not samples:
        return "The removed documents were not kept (--removed none)."
    severities = sorted({s.severity for s in samples})
    folds = []
    for severity in severities:
        items = [
            f"<li>{html.escape(s.id[:8])}{'' if s.value is None else f' ({s.value:.3g})'} {html.escape(s.excerpt)}</li>"
            for s in samples
            if s.severity == severity
        ]
        name = "removed, for example" + (f": severity {severity}" if len(severities) > 1 else "")
        folds.append(f"<details><summary>{name} ({len(items)})</summary><ul>{''.join(items)}</ul></details>")
    return "".join(folds)


def funnel_picture(funnels: dict[str, dict[str, Any]]) -> bytes:
    """Documents after each step, a panel a language, as SVG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = {"kept": "#3b78b5", "dropped": "#d9822b", "duplicates": "#8f6bb3", "quarantined": "#999999"}
    with matplotlib.rc_context({"svg.hashsalt": "corpuskit", "svg.fonttype": "path", "font.size": 9}):
        figure, axes = pyplot.subplots(len(funnels), 1, figsize=(8, 0.6 + 1.5 * len(funnels)), squeeze=False)
        for axis, (lang, funnel) in zip(axes[:, 0], funnels.items(), strict=True):
            rows = [("total", funnel["total"]), *reversed(funnel["sources"].items())]
            left = [0.0] * len(rows)
            for part, colour in colours.items():
                widths = [100 * c[part] / c["in"] if c["in"] else 0.0 for _, c in rows]
                axis.barh([f"{name} ({c['in']:,})" for name, c in rows], widths, left=left, color=colour, label=part)
                left = [a + b for a, b in zip(left, widths, strict=True)]
            axis.set_title(lang, loc="left", fontsize=10)
            axis.set_xlim(0, 100)
            axis.spines[["top", "right"]].set_visible(False)
        axes[-1, 0].set_xlabel("% of documents")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right", ncols=4, frameon=False)
        figure.tight_layout()
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    return out.getvalue()
