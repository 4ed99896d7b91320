"""report/funnel.json, report/index.html and, where matplotlib is installed, report/funnel.svg.

The page is one file: no script, no font, no image from elsewhere. Everything that came from the web is escaped. It
depends on the corpus alone, so that the same corpus gives the same page, byte for byte.
"""

from __future__ import annotations

import html
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpuskit.engine.store import read_receipts, write_atomic, write_json
from corpuskit.privacy.detect import find, mask
from corpuskit.report.funnel import TOTAL

SAMPLES = 3  # removed documents shown per rule
EXCERPT = 160  # characters of each

_STYLE = """
body { font: 15px/1.6 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { padding: .25rem .6rem; text-align: right }
th:first-child, td:first-child, td.text { text-align: left } tr + tr { border-top: 1px solid #ddd }
td.text { color: #555; word-break: break-all } .bar { background: #3b78b5; height: .8rem; display: inline-block }
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
    sections = [_language(workspace, lang, funnel) for lang, funnel in funnels.items()]
    inline = picture[picture.index(b"<svg") :].decode() if picture else ""
    page = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>corpuskit report</title><style>{_STYLE}</style>"
        f"<h1>corpuskit report</h1>{inline}{''.join(sections)}</html>\n"
    )
    path = folder / "index.html"
    write_atomic(path, page.encode())
    return path


def _language(workspace: Path, lang: str, funnel: dict[str, Any]) -> str:
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
    samples = _removed_samples(workspace, lang)
    rule_rows = [
        f"<tr><td>{html.escape(rule)}</td><td>{counts['dropped']:,}</td><td>{counts['failing']:,}</td>"
        f"<td class='text'>{'<br>'.join(html.escape(s) for s in samples.get(rule, []))}</td></tr>"
        for rule, counts in funnel["rules"].items()
        if counts["failing"]
    ]
    masked = ", ".join(f"{html.escape(k)} {v:,}" for k, v in funnel["masked"].items()) or "nothing"
    heads = "".join(f"<th>{k}</th>" for k in TOTAL)
    return (
        f"<h2>{html.escape(lang)}</h2><table><tr><th>source</th>{heads}</tr>{''.join(rows)}</table>"
        "<table><tr><th>after</th><th>documents</th><th>characters</th><th>bytes</th><th></th></tr>"
        f"{''.join(step_rows)}</table>"
        "<table><tr><th>rule</th><th>dropped</th><th>failing</th><th>removed, for example</th></tr>"
        f"{''.join(rule_rows)}</table><p>Masked: {masked}.</p>"
    )


def _removed_samples(workspace: Path, lang: str) -> dict[str, list[str]]:
    """The first removed documents of each rule, in shard order: id, value and the beginning of the text."""
    out: dict[str, list[str]] = {}
    for step in ("clean", "dedup"):
        folder = workspace / step / lang
        for receipt in read_receipts(folder):
            for output in receipt.outputs:
                if not output.path.startswith("removed/"):
                    continue
                # the first row group is enough for a look
                with pq.ParquetFile(folder / output.path) as file:
                    if not file.num_row_groups:
                        continue
                    rows = file.read_row_group(0, columns=["id", "rule", "value", "text"], use_threads=False)
                for row in rows.slice(0, 200).to_pylist():
                    shown = out.setdefault(row["rule"], [])
                    if len(shown) < SAMPLES:
                        # these were removed before personal information was masked, and the page is there to be shared
                        head = pa.array([row["text"][: 2 * EXCERPT]], pa.string())
                        masked = mask(head, find(head, ("email", "phone_jp")))[0].as_py()
                        excerpt = " ".join(masked[:EXCERPT].split())
                        shown.append(f"{row['id'][:8]} ({row['value']:.3g}) {excerpt}")
    return out


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
