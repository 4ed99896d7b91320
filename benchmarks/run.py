"""Measure corpuskit's steps on real Japanese text and set them beside the numbers to reach: see README.md.

python benchmarks/run.py [--data DIR] [--work DIR] [--step NAME ...] [--peers] [--json FILE]
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import platform
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from naive import naive_signals
from readers import MC4, dumps, readings, wikitexts

from corpuskit import __version__, config, rulesets
from corpuskit.bins.format import TokenStream
from corpuskit.bins.pack import pack_language
from corpuskit.build import files, stages
from corpuskit.dedup.minhash import band_keys, matching_column
from corpuskit.dedup.paragraphs import cut_paragraphs
from corpuskit.dedup.stage import dedup as deduplicate
from corpuskit.dedup.substring import cut_repeats
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Runner, map_shards
from corpuskit.engine.store import as_inputs
from corpuskit.filters.language import find_model, language_probability
from corpuskit.filters.signals import FAMILIES, measure
from corpuskit.filters.words import measure_lists
from corpuskit.mix.mixture import Mixture
from corpuskit.mix.order import WindowOrder
from corpuskit.privacy.detect import find, mask
from corpuskit.sources.read import STAGE as READ
from corpuskit.sources.read import Quarantine, read_documents
from corpuskit.sources.streams import as_input
from corpuskit.sources.wikitext import wikitext_to_text
from corpuskit.text.normalize import normalize_column
from corpuskit.text.shadow import Shadow, shadow_column
from corpuskit.tokenizer.train import train_tokenizer

RUNS = 3
SHORT = 0.3  # CPU seconds: what is over sooner is run several times for one measurement
WARM_UP_DOCUMENTS = 40
MEMORY, ENOUGH = Path("/dev/shm"), 4e9  # where files are kept in memory, and how many bytes must be free there
VOCAB_SIZE = 32000
GENRES = ("ja_literature", "ja_law", "ja_tech")
PIPELINE = config.load_pipeline("ja")
JA_FAMILIES = ("characters", "lines", "repetition")  # Japanese has no words between spaces


@dataclass
class Sets:
    """Named sets of JSON-lines files, and what the steps need of them, made on first use and kept."""

    files: dict[str, list[Path]]
    work: Path
    tokenizer: Callable[[], Input]
    data: Path | None = None  # the folder itself, for formats other than JSON lines
    _texts: dict[str, list[pa.Array]] = field(default_factory=dict)

    def shards(self, name: str) -> list[Shard]:
        """The files as `--input` takes them."""
        return files.foreign_shards([str(p) for p in self.files[name]], "ja", "text", "url")

    def texts(self, name: str) -> list[pa.Array]:
        """The text columns, in memory."""
        if name not in self._texts:
            batches = (b for s in self.shards(name) for b in read_documents(s, Quarantine(self.work)))
            self._texts[name] = [b.column("text") for b in batches]
        return self._texts[name]

    def documents(self, name: str) -> list[Shard]:
        """The set as documents files, which is what a step finds inside a workspace."""
        out = self.work / "documents" / name
        receipts = map_shards(READ, self.shards(name), out=out, params={}, runner=here())
        return [
            Shard(r.shard, tuple(as_inputs(out, [r], "kept", self.work)), {"source": "input", "priority": "0"})
            for r in receipts
        ]

    def mb(self, name: str) -> float:
        """10^6 bytes of UTF-8 text."""
        return sum(pc.sum(pc.binary_length(t)).as_py() for t in self.texts(name)) / 1e6


@dataclass
class Case:
    """One line of the table: what is run, on how much, and the design's number where it has one."""

    step: str
    data: str
    amount: float
    target: float | None
    run: Callable[[], Any]
    unit: str = "MB/s"


def here() -> Runner:
    """A runner in this process, so that its CPU clock sees all the work."""
    return Runner("local", workers=1, retries=0)


def on_texts(step: str, sets: Sets, target: float | None, function: Callable[[pa.Array], Any]) -> Iterator[Case]:
    """A step in memory, column by column."""
    for name in sets.files:

        def run(texts: list[pa.Array]) -> None:
            for column in texts:
                function(column)

        yield Case(step, name, sets.mb(name), target, functools.partial(run, sets.texts(name)))


def on_files(step: str, sets: Sets, target: float | None, function: Callable[[str, Path], Any]) -> Iterator[Case]:
    """A step from files to files; `function` gets the name of the set and an empty folder."""
    for name in sets.files:

        def run(name: str) -> None:
            function(name, Path(tempfile.mkdtemp(dir=sets.work / "out")))

        (sets.work / "out").mkdir(exist_ok=True)
        yield Case(step, name, sets.mb(name), target, functools.partial(run, name))
        shutil.rmtree(sets.work / "out")  # no part of what is measured


def read(sets: Sets) -> Iterator[Case]:
    shards = {name: sets.shards(name) for name in sets.files}  # hashing the inputs is no part of reading them

    def run(name: str, out: Path) -> None:
        for shard in shards[name]:
            for _ in read_documents(shard, Quarantine(out)):
                pass

    yield from on_files("read", sets, 300, run)


def normalise(sets: Sets) -> Iterator[Case]:
    yield from on_texts("normalise", sets, None, lambda texts: normalize_column(texts, PIPELINE.normalize))


def shadow(sets: Sets) -> Iterator[Case]:
    yield from on_texts("shadow", sets, None, shadow_column)


def naive(sets: Sets) -> Iterator[Case]:
    """The yardstick for `signals`."""
    yield from on_texts("naive", sets, None, naive_signals)


def signals(sets: Sets) -> Iterator[Case]:
    """All that is measured on Japanese from the text alone; `lists` is its word lists."""

    def run(texts: pa.Array) -> None:
        folded = shadow_column(texts)
        measure(folded, JA_FAMILIES)
        measure_lists(folded, "ja")

    yield from on_texts("signals", sets, 40, run)


def signal_families(sets: Sets) -> Iterator[Case]:
    """Each family alone, the shadow made before."""
    for family in FAMILIES:
        for name in sets.files:
            shadows = [shadow_column(t) for t in sets.texts(name)]

            def run(shadows: list[Shadow], family: str) -> None:
                for one in shadows:
                    measure(one, (family,))

            yield Case(family, name, sets.mb(name), None, functools.partial(run, shadows, family))
    for name in sets.files:

        def run_lists(shadows: list[Shadow]) -> None:
            for one in shadows:
                measure_lists(one, "ja")

        shadows = [shadow_column(t) for t in sets.texts(name)]
        yield Case("lists", name, sets.mb(name), None, functools.partial(run_lists, shadows))


def language(sets: Sets) -> Iterator[Case]:
    model = find_model().path
    yield from on_texts("language", sets, 30, lambda texts: language_probability(texts, "ja", model))


def _clean(step: str, sets: Sets, target: float, label: str | None) -> Iterator[Case]:
    whole = rulesets.load_rules("ja", PIPELINE.rules)
    kept = tuple(r for r in whole.rules if label or r.signal != "language_probability")
    rules = whole.model_copy(update={"rules": kept})

    def run(name: str, out: Path) -> None:
        shards = sets.shards(name)
        measuring = PIPELINE.measuring().model_copy(update={"language_id": label})
        stages.clean(shards, out=out, runner=here(), rules=rules, measuring=measuring)

    yield from on_files(step, sets, target, run)


def clean(sets: Sets) -> Iterator[Case]:
    yield from _clean("clean", sets, 10, PIPELINE.language_id)


def clean_heuristics(sets: Sets) -> Iterator[Case]:
    yield from _clean("clean-heuristics", sets, 15, None)


def decide(sets: Sets) -> Iterator[Case]:
    """Verdicts from signals that are there already; the number to reach is 100 times that of `clean`."""
    whole = rulesets.load_rules("ja", PIPELINE.rules)
    rules = whole.model_copy(update={"rules": tuple(r for r in whole.rules if r.signal != "language_probability")})
    work, measured = sets.work / "measured", {}
    measuring = PIPELINE.measuring().model_copy(update={"language_id": None})
    for name in sets.files:
        shards = sets.shards(name)
        measured[name] = stages.clean(shards, out=work / name, runner=here(), rules=None, measuring=measuring)

    def run(name: str, out: Path) -> None:
        stages.decide(measured[name], work / name, out=out, root=sets.work, rules=rules, runner=here())

    yield from on_files("decide", sets, 1500, run)


def pii(sets: Sets) -> Iterator[Case]:
    yield from on_texts("pii", sets, 100, lambda texts: mask(texts, find(texts, PIPELINE.privacy)))


def scrub(sets: Sets) -> Iterator[Case]:
    documents = {name: sets.documents(name) for name in sets.files}

    def run(name: str, out: Path) -> None:
        stages.scrub(documents[name], out=out, types=PIPELINE.privacy, runner=here())

    yield from on_files("scrub", sets, 100, run)


def minhash_112(sets: Sets) -> Iterator[Case]:
    shape = PIPELINE.dedup.model_copy(update={"bands": 14, "rows_per_band": 8})
    yield from on_texts("minhash-112", sets, 60, lambda texts: band_keys(matching_column(texts), shape))


def minhash_9000(sets: Sets) -> Iterator[Case]:
    shape = PIPELINE.dedup.model_copy(update={"bands": 450, "rows_per_band": 20})
    yield from on_texts("minhash-9000", sets, 10, lambda texts: band_keys(matching_column(texts), shape))


def dedup(sets: Sets) -> Iterator[Case]:
    yield from on_files("dedup", sets, 25, lambda name, out: _dedup(sets.shards(name), out))


def _dedup(shards: list[Shard], out: Path) -> None:
    files.dedup_files(files.plan_dedup_files(shards, "ja", {}), out=out, runner=here())


def paragraphs(sets: Sets) -> Iterator[Case]:
    yield from _cuts("paragraphs", sets, None, cut_paragraphs, config.Paragraphs(documents=10))


def substring(sets: Sets) -> Iterator[Case]:
    yield from _cuts("substring", sets, 5, cut_repeats, config.Substring(length=100))


def _cuts(step: str, sets: Sets, target: float | None, stage: Callable[..., Any], params: Any) -> Iterator[Case]:
    def run(name: str, out: Path) -> None:
        read = map_shards(READ, sets.shards(name), out=out / "read", params={}, runner=here())
        shards = [
            Shard(r.shard, tuple(as_inputs(out / "read", [r], "kept", out)), {"source": "input", "priority": "0"})
            for r in read
        ]
        stage(shards, work=out / "work", out=out, root=out, params=params, runner=here())
        for file in out.glob("kept/*.parquet"):  # whole characters everywhere, or the run ends
            pq.read_table(file)["text"].combine_chunks().validate(full=True)

    yield from on_files(step, sets, target, run)


def dedup_workspace(sets: Sets) -> Iterator[Case]:
    documents = {name: sets.documents(name) for name in sets.files}

    def run(name: str, out: Path) -> None:
        deduplicate(documents[name], out=out, root=sets.work, params=PIPELINE.dedup, runner=here())

    # signatures are recorded relative to the workspace, so the output folder has to lie in it
    yield from on_files("dedup-workspace", sets, 25, run)


def exact(sets: Sets) -> Iterator[Case]:
    """Removal by the hash of the text alone, from documents files to documents files."""
    yield from _exact("exact", sets, ("text",))


def exact_url(sets: Sets) -> Iterator[Case]:
    """The same by the normalised URL."""
    yield from _exact("exact-url", sets, ("url",))


def _exact(step: str, sets: Sets, by: tuple[str, ...]) -> Iterator[Case]:
    documents = {name: sets.documents(name) for name in sets.files}
    params = config.change_dedup(PIPELINE.dedup, {"preset": "exact", "exact": by})

    def run(name: str, out: Path) -> None:
        deduplicate(documents[name], out=out, root=sets.work, params=params, runner=here())

    yield from on_files(step, sets, 100, run)


def pack(sets: Sets) -> Iterator[Case]:
    documents = {name: sets.documents(name) for name in sets.files}

    def run(name: str, out: Path) -> None:
        pack_language("ja", documents[name], sets.tokenizer(), out=out, runner=here())

    yield from on_files("pack", sets, 18, run)


def locate(sets: Sets) -> Iterator[Case]:
    tokens = {"code": 10**11, "en": 10**12, "ja": 2 * 10**12}
    shards = {lang: [{"weight": 1, "sha256": {"bin": lang}}] for lang in tokens}
    streams = tuple(TokenStream(lang, n, {"shards": shards[lang]}, (), np.array([0, n])) for lang, n in tokens.items())
    shares = {"ja": 0.57, "en": 0.31, "code": 0.12}
    order = WindowOrder.build(Mixture(asked=shares, shares=shares), streams, 4096)
    positions = np.random.default_rng(0).integers(0, order.num_windows, 1_000_000)
    yield Case("locate", "3 languages", 1e6, 1e6, lambda: order.locate(positions), "locates/s")


def wikitext(sets: Sets) -> Iterator[Case]:
    """Wikitext to text alone; `readers` has the way there from the packed dump as well."""
    for wiki, path, size in dumps(sets.data) if sets.data else ():
        yield Case("wikitext", f"{wiki}, in memory", size, 15, functools.partial(_wikitext, wikitexts(path)))


def _wikitext(pages: list[str]) -> None:
    for page in pages:
        wikitext_to_text(page)


def readers(sets: Sets) -> Iterator[Case]:
    texts = [t for column in sets.texts(next(iter(sets.files))) for t in column.to_pylist()]
    for reading in readings(texts, sets.data, sets.work):
        yield Case("readers", reading.data, reading.megabytes, reading.target, reading.run)


STEPS: dict[str, Callable[[Sets], Iterator[Case]]] = {
    "read": read,
    "normalise": normalise,
    "shadow": shadow,
    "naive": naive,
    "signals": signals,
    "signal-families": signal_families,
    "language": language,
    "clean": clean,
    "clean-heuristics": clean_heuristics,
    "decide": decide,
    "pii": pii,
    "scrub": scrub,
    "minhash-112": minhash_112,
    "minhash-9000": minhash_9000,
    "dedup": dedup,
    "dedup-workspace": dedup_workspace,
    "exact": exact,
    "exact-url": exact_url,
    "paragraphs": paragraphs,
    "substring": substring,
    "pack": pack,
    "locate": locate,
    "wikitext": wikitext,
    "readers": readers,
}


def find_sets(data: Path, work: Path) -> Sets:
    """The file sets of a data folder; one that is missing is left out with a line that says so."""
    files = {"mc4": sorted(data.glob(MC4))}
    files["mc4-0"] = files["mc4"][:1]
    files |= {genre: sorted(data.glob(f"bench/{genre}.jsonl.zst")) for genre in GENRES}
    for name in [name for name, found in files.items() if not found]:
        print(f"skipped: no {name} in {data}", file=sys.stderr)
        del files[name]

    @functools.cache
    def tokenizer() -> Input:
        documents = [s.inputs[0] for s in sets.documents(next(iter(files)))]
        out = work / "tokenizer"
        receipt = train_tokenizer({"ja": documents}, {"ja": 1.0}, out=out, vocab_size=VOCAB_SIZE, runner=here())
        return as_input(str(out / next(o.path for o in receipt.outputs if o.path.endswith(".model"))))

    sets = Sets(files, work, tokenizer, data)
    return sets


def small(sets: Sets) -> Sets:
    """A few documents of the first set: a step runs on them once before it is measured."""
    path = sets.work / "warm-up.jsonl"
    texts = [t for column in sets.texts(next(iter(sets.files))) for t in column[:WARM_UP_DOCUMENTS].to_pylist()]
    lines = (json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts[:WARM_UP_DOCUMENTS])
    path.write_text("".join(lines), encoding="utf-8")
    return Sets({"warm-up": [path]}, sets.work, sets.tokenizer)


def cpu_seconds(run: Callable[[], Any]) -> float:
    """CPU seconds of this process, all its threads, user and system; the mean of as many runs as fill SHORT."""
    gc.collect()
    times = 0
    before = time.process_time()
    while True:
        run()
        times += 1
        spent = time.process_time() - before
        if spent >= SHORT:
            return spent / times


def run_steps(names: list[str], sets: Sets) -> list[dict[str, Any]]:
    """Measure the named steps and print a line each."""
    rows = []
    print(f"{'step':17} {'data':22} {'amount':>10} {'CPU s':>7} {'rate':>12}   {'to reach':>8} {'ratio':>6}")
    warm_up = small(sets)
    for name in names:
        for case in STEPS[name](warm_up):  # imports, compiled kernels, models
            case.run()
        for case in STEPS[name](sets):
            seconds = [cpu_seconds(case.run) for _ in range(RUNS)]
            rate = case.amount / statistics.median(seconds)
            row = {
                "step": case.step,
                "data": case.data,
                "amount": round(case.amount, 3),
                "unit": case.unit,
                "cpu_seconds": [round(s, 3) for s in seconds],
                "rate": rate,
                "target": case.target,
            }
            rows.append(row)
            print(_line(row), flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    target = f"{row['target']:>8,.0f} {row['rate'] / row['target']:>6.2f}" if row["target"] else ""
    rate = f"{row['rate']:,.0f}" if row["rate"] >= 1000 else f"{row['rate']:.1f}"
    unit = "/s" if row["unit"] == "locates/s" else ""
    seconds = statistics.median(row["cpu_seconds"])
    return f"{row['step']:17} {row['data']:22} {row['amount']:>10,.1f} {seconds:>7.2f} {rate:>12}{unit:2} {target}"


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    info = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.is_file() else []
    return {
        "corpuskit": __version__,
        "python": platform.python_version(),
        "cpu": models[0] if models else platform.machine(),
        "runs": RUNS,
    }


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=default, help="folder with the texts (default: ../shared/data)")
    parser.add_argument("--work", type=Path, help="folder for what is written (default: $TMPDIR, or memory where free)")
    parser.add_argument("--step", nargs="+", choices=list(STEPS), metavar="NAME", help="only these steps")
    parser.add_argument("--peers", action="store_true", help="measure other tools as well, on the mC4 files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"skipped: there is no folder {args.data}; give the texts with --data DIR", file=sys.stderr)
        return 0
    about = machine()
    print(f"corpuskit {about['corpuskit']}, Python {about['python']}, {about['cpu']}; MB/s of one core's CPU time")
    work = args.work
    if work:
        work.mkdir(parents=True, exist_ok=True)
    elif "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH:
        work = MEMORY
    with tempfile.TemporaryDirectory(prefix="corpuskit-bench-", dir=work) as folder:
        sets = find_sets(args.data, Path(folder))
        if not sets.files:
            return 0
        rows = run_steps(args.step or list(STEPS), sets)
        peers = []
        if args.peers:
            from peers import run_peers

            peers = run_peers(sets.files, sets.tokenizer().path, Path(folder), rows)
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "steps": rows, "peers": peers}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
