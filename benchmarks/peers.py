"""Other tools on the same files, each in an environment of its own: see README.md.

Two halves. `run_peers` makes the environments and starts the drivers; a driver runs under a peer's own Python as
`python peers.py DRIVER --work DIR [--tokenizer FILE] FILE...` and prints one JSON line. Drivers call the published
packages as their documentation does, on JSON lines (gz) with a `text` field, and write gz unless said. Those that
remove near-duplicates also say for whom each document went, by number (its own where it stays): see near_duplicates.py.
"""

import argparse
import contextlib
import gzip
import hashlib
import importlib.metadata
import json
import os
import pickle
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

PACKAGES = {
    "hojichar": ["hojichar[all,dedup]==0.18.1", "unidic-lite==1.0.8"],
    "datatrove": ["datatrove[processing,io,cli,multilingual]==0.10.1", "orjson"],
    "textdedup": ["text-dedup==0.4.0"],
    "encoders": ["sentencepiece==0.2.3", "kitoken==0.11.1", "rensa==0.5.0", "numpy==2.4.6"],
}


class Peer(NamedTuple):
    """One line of the table of peers."""

    driver: str
    environment: str
    data: str  # a set of run.py
    ours: str  # the step of run.py that does the same
    runs: int  # slow ones run once
    what: str


PEERS = (
    Peer("read", "encoders", "mc4", "read", 3, "gzip + json of the standard library"),
    Peer("hojichar_every_rule", "hojichar", "mc4-0", "clean", 3, "HojiChar, 13 rules, every rule on every document"),
    Peer("hojichar_first_rule", "hojichar", "mc4-0", "clean", 3, "HojiChar, the same, stops at the first failing rule"),
    Peer("datatrove_filter", "datatrove", "mc4-0", "clean", 1, "datatrove, FineWeb-2's rules for Japanese"),
    Peer("hojichar_pii", "hojichar", "mc4-0", "pii", 3, "HojiChar MaskPersonalInformation, in memory"),
    Peer("datatrove_pii", "datatrove", "mc4-0", "pii", 3, "datatrove PIIFormatter (no telephone rule), in memory"),
    Peer("hojichar_signatures", "hojichar", "mc4", "minhash-112", 3, "HojiChar GenerateDedupLSH, 14 x 8, in memory"),
    Peer("hojichar_dedup", "hojichar", "mc4", "dedup", 3, "HojiChar GenerateDedupLSH + InlineDeduplicator, 14 x 8"),
    Peer("rensa_dedup", "encoders", "mc4", "dedup", 3, "rensa RMinHash 14 x 8, with our union-find around it"),
    Peer("textdedup_dedup", "textdedup", "mc4", "dedup", 1, "text-dedup MinHash 14 x 8, word 5-grams, Arrow out"),
    Peer("datatrove_dedup", "datatrove", "mc4-0", "dedup", 1, "datatrove MinHash 14 x 8, word 5-grams, four stages"),
    Peer("sentencepiece", "encoders", "mc4", "pack", 3, "SentencePiece encode to a flat file"),
    Peer("kitoken", "encoders", "mc4", "pack", 3, "kitoken encode to a flat file"),
)


# The half that runs beside corpuskit.


def run_peers(sets: dict[str, list[Path]], tokenizer: str, work: Path, ours: list[dict]) -> list[dict]:
    """Measure every peer and print a line each; `ours` are the rows of run.py, for the ratio."""
    rates = {(row["step"], row["data"]): row["rate"] for row in ours}
    print(f"\n{'peer':56} {'data':6} {'CPU s':>7} {'MB/s':>7} {'docs out':>9}   ours, step")
    rows, broken = [], {}
    for peer in PEERS:
        if peer.data not in sets:
            print(f"{peer.what:56} {peer.data:6} skipped: the data is not there")
            continue
        row = {"peer": peer.what, "driver": peer.driver, "data": peer.data, "step": peer.ours}
        try:
            if peer.environment in broken:
                raise PeerFailed(broken[peer.environment])
            try:
                python = environment(peer.environment)
            except PeerFailed as problem:
                broken[peer.environment] = str(problem)
                raise
            files = sets[peer.data]
            measured = [drive(python, peer.driver, files, work, tokenizer) for _ in range(peer.runs)]
        except PeerFailed as problem:
            row["error"] = str(problem)
            print(f"{peer.what:56} {peer.data:6} not measured: {problem}", flush=True)
        else:
            seconds = statistics.median(m["cpu_seconds"] for m in measured)
            measured[0].pop("survivors", None)
            row |= {**measured[0], "cpu_seconds": [m["cpu_seconds"] for m in measured]}
            row["rate"] = row["mb"] / seconds
            factor = rates.get((peer.ours, peer.data))
            beside = f"{factor / row['rate']:.1f} x, {peer.ours}" if factor else f"not measured, {peer.ours}"
            docs = row.get("documents_out", "")
            print(f"{peer.what:56} {peer.data:6} {seconds:7.2f} {row['rate']:7.2f} {docs:>9}   {beside}", flush=True)
        rows.append(row)
    return rows


class PeerFailed(Exception):
    """A peer could not be installed or run; the message is its last line of output."""


def environment(name: str) -> Path:
    """The Python of a peer's virtual environment, made when it is not there yet.

    Raises:
        PeerFailed: a package cannot be installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "corpuskit" / "peers"
    digest = hashlib.sha256("\n".join(PACKAGES[name]).encode()).hexdigest()[:8]
    folder = cache / f"{name}-{digest}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {', '.join(PACKAGES[name])}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        _call([python, "-m", "pip", "install", "--quiet", "uv"])  # pip itself takes minutes to resolve some of them
        _call([python, "-m", "uv", "pip", "install", "--quiet", "--python", python, *PACKAGES[name]])
        done.touch()
    return python


def drive(python: Path, driver: str, files: list[Path], work: Path, tokenizer: str = "") -> dict:
    """What a driver measured.

    Raises:
        PeerFailed: it ended with an error, or did not end.
    """
    folder = work / "peer"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command = [python, __file__, driver, "--work", folder, "--tokenizer", tokenizer, *files]
    return json.loads(_call(command).splitlines()[-1])


def _call(command: list) -> str:
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=1800)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise PeerFailed(str(problem)) from problem
    if done.returncode:
        raise PeerFailed((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1][:200])
    return done.stdout


# The half that runs in a peer's environment.


class Clock:
    """CPU seconds, user and system, of this process and of the children it waited for, between start and stop."""

    def start(self) -> None:
        self.seconds = -_cpu()

    def stop(self) -> None:
        self.seconds += _cpu()


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def lines_of(files):
    """The lines of all files."""
    for path in files:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from lines


def texts_of(files):
    """The texts of all files, parsed."""
    return (json.loads(line)["text"] for line in lines_of(files))


def read(args, clock):
    clock.start()
    documents = sum(1 for _ in texts_of(args.files))
    clock.stop()
    return {"documents_out": documents, "package": None}


def _hojichar_stream(args, clock, compose, look=lambda document: None):
    from hojichar import Document

    kept = 0
    clock.start()
    with gzip.open(args.work / "out.jsonl.gz", "wt", encoding="utf-8", compresslevel=6) as out:
        for document in compose.apply_stream(Document(line) for line in lines_of(args.files)):
            look(document)
            if not document.is_rejected:
                kept += 1
                out.write(document.text + "\n")
    clock.stop()
    return {"documents_out": kept, "package": "hojichar"}


def _hojichar_filter(args, clock, **every):
    from hojichar import Compose
    from hojichar import document_filters as f

    names = ("AcceptJapanese", "DiscardRareKuten", "DiscardBBSComments", "DiscardAds", "DiscardAdultContentJa")
    names += ("DiscardDiscriminationContentJa", "DiscardViolenceContentJa", "CharRepetitionRatioFilter")
    names += ("DiscardTooManySpecialToken", "SingleCharacterRepetitionFilter", "DiscardTooManyEndingEllipsis")
    names += ("DiscardTooShortLines",)
    rules = [getattr(f, name)(**every) for name in names]
    rules.insert(1, f.DocumentLengthFilter(min_doc_len=200, max_doc_len=50_000, **every))
    first = [f.JSONLoader(extra_keys=["url"]), f.DocumentNormalizer()]
    last = [f.MaskPersonalInformation(**every), f.JSONDumper(export_extras=True)]
    return _hojichar_stream(args, clock, Compose([*first, *rules, *last]))


def hojichar_first_rule(args, clock):
    return _hojichar_filter(args, clock)


def hojichar_every_rule(args, clock):
    return _hojichar_filter(args, clock, skip_rejected=False)


def hojichar_dedup(args, clock, bands=14, rows=8):
    from hojichar import Compose
    from hojichar import document_filters as f
    from hojichar.filters.deduplication import GenerateDedupLSH, InlineDeduplicator

    lsh = GenerateDedupLSH(num_bands=bands, band_size=rows)
    chain = [f.JSONLoader(extra_keys=["url"]), f.DocumentNormalizer(), lsh, InlineDeduplicator(), f.JSONDumper()]
    keys = []
    result = _hojichar_stream(args, clock, Compose(chain), lambda document: keys.append(document.extras["dedup_lsh"]))
    holder, survivors = {}, []  # a document goes when one of its keys was there before, whoever had it
    for number, own in enumerate(keys):
        survivors.append(min((survivors[holder[key]] for key in own if key in holder), default=number))
        for key in own:
            holder.setdefault(key, number)
    return {**result, "survivors": survivors}


def hojichar_dedup_27x18(args, clock):
    """What its threshold of 0.8 and 500 hashes come to, its defaults."""
    return hojichar_dedup(args, clock, 27, 18)


def hojichar_signatures(args, clock):
    from hojichar import Document
    from hojichar import document_filters as f
    from hojichar.filters.deduplication import GenerateDedupLSH

    normalizer, lsh = f.DocumentNormalizer(), GenerateDedupLSH(num_bands=14, band_size=8)
    documents = [Document(text) for text in texts_of(args.files)]
    clock.start()
    for document in documents:
        lsh.apply(normalizer.apply(document))
    clock.stop()
    return {"package": "hojichar"}


def hojichar_pii(args, clock):
    from hojichar import Document
    from hojichar import document_filters as f

    mask, documents = f.MaskPersonalInformation(), [Document(text) for text in texts_of(args.files)]
    clock.start()
    for document in documents:
        mask.apply(document)
    clock.stop()
    return {"package": "hojichar"}


def _datatrove_run(pipeline, logs, tasks=1):
    from datatrove.executor import LocalPipelineExecutor

    with contextlib.redirect_stdout(sys.stderr):
        LocalPipelineExecutor(
            pipeline=pipeline, tasks=tasks, workers=1, logging_dir=str(logs), skip_completed=False
        ).run()


def _datatrove_prepare(args):
    """The inputs as a folder, and Sudachi and spaCy loaded before the clock starts."""
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    load_word_tokenizer("jpn").word_tokenize("日本語の文です。")
    folder = args.work / "in"
    folder.mkdir()
    for n, path in enumerate(args.files):
        (folder / f"{n:05d}.json.gz").symlink_to(path.resolve())
    return str(folder)


def _documents_in(folder):
    return sum(1 for _ in lines_of(sorted(folder.glob("*.jsonl.gz"))))


def datatrove_filter(args, clock):
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    # the values of FineWeb-2's published configuration for jpn_Jpan; 0 switches a rule off
    repetition = GopherRepetitionFilter(
        language="jpn",
        dup_line_frac=0.328,
        dup_para_frac=0,
        dup_line_char_frac=0,
        dup_para_char_frac=0,
        top_n_grams=((2, 0.239), (3, 0.196), (4, 0.172)),
        dup_n_grams=((5, 0.243), (6, 0.225), (7, 0.207), (8, 0.19), (9, 0.175), (10, 0.159)),
    )
    fineweb = FineWebQualityFilter(
        language="jpn", line_punct_thr=0.096, short_line_thr=999, char_duplicates_ratio=0.1, new_line_ratio=0.13
    )
    quality = GopherQualityFilter(
        language="jpn",
        min_doc_words=50,
        min_avg_word_length=1,
        max_avg_word_length=6,
        max_non_alpha_words_ratio=0.759,
        min_stop_words=2,
        stop_words=list("のにをはたてがとで年し・月れさ"),
    )
    reader = JsonlReader(_datatrove_prepare(args), id_key="url")
    out = args.work / "out"
    clock.start()
    _datatrove_run([reader, repetition, fineweb, quality, PIIFormatter(), JsonlWriter(str(out))], args.work / "logs")
    clock.stop()
    return {"documents_out": _documents_in(out), "package": "datatrove"}


def datatrove_pii(args, clock):
    from datatrove.pipeline.formatters import PIIFormatter

    formatter, texts = PIIFormatter(email_replacement="<EMAIL>", ip_replacement="<IP>"), list(texts_of(args.files))
    clock.start()
    for text in texts:
        formatter.format(text)
    clock.stop()
    return {"package": "datatrove"}


def datatrove_dedup(args, clock):
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig(num_buckets=14, hashes_per_bucket=8, n_grams=5)
    reader = JsonlReader(_datatrove_prepare(args), id_key="url")
    signed, buckets, clusters, out = (str(args.work / name) for name in ("signed", "buckets", "clusters", "out"))
    logs, tasks = args.work / "logs", len(args.files)
    clock.start()
    _datatrove_run([reader, MinhashDedupSignature(signed, config=config, language="jpn")], logs / "1", tasks)
    _datatrove_run([MinhashDedupBuckets(signed, buckets, config=config)], logs / "2", config.num_buckets)
    _datatrove_run([MinhashDedupCluster(buckets, clusters, config=config, save_cluster_id=True)], logs / "3")
    _datatrove_run([reader, MinhashDedupFilter(clusters), JsonlWriter(out)], logs / "4", tasks)
    clock.stop()
    survivors, start, stays, clustered = [], 0, {}, []
    for task, path in enumerate(args.files):  # number by number within a file: who goes, and who is in which cluster
        survivors += range(start, start + sum(1 for _ in lines_of([path])))
        files = [Path(clusters) / f"{task:06d}.{kind}" for kind in ("remove", "clusters")]
        gone, cluster = (file.read_bytes() if file.is_file() else b"" for file in files)
        removed = {number for (number,) in struct.iter_unpack("<I", gone)}
        for number, name in struct.iter_unpack("<II", cluster):
            clustered.append((start + number, name))
            if number not in removed:
                stays[name] = start + number
        start = len(survivors)
    for number, name in clustered:
        survivors[number] = stays[name]
    return {"documents_out": _documents_in(Path(out)), "package": "datatrove", "survivors": survivors}


def rensa_dedup(args, clock):
    import numpy as np
    from rensa import RMinHash

    bands, rows, lines, sketches, batch = 14, 8, [], [], []
    clock.start()
    for line in lines_of(args.files):
        text = json.loads(line)["text"]
        lines.append(line)
        batch.append(list({text[i : i + 5] for i in range(max(1, len(text) - 4))}))
        if len(batch) == 256:
            sketches.append(RMinHash.digests_from_token_sets(batch, num_perm=bands * rows, seed=42))
            batch = []
    if batch:
        sketches.append(RMinHash.digests_from_token_sets(batch, num_perm=bands * rows, seed=42))
    matrix = np.concatenate([np.asarray(s, np.uint32) for s in sketches])
    parent = list(range(len(lines)))

    def find(i):
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for band in range(bands):
        seen = {}
        for i, key in enumerate(map(bytes, np.ascontiguousarray(matrix[:, band * rows : (band + 1) * rows]))):
            a, b = find(seen.setdefault(key, i)), find(i)
            parent[max(a, b)] = min(a, b)
    kept = [line for i, line in enumerate(lines) if find(i) == i]
    with gzip.open(args.work / "out.jsonl.gz", "wt", encoding="utf-8", compresslevel=6) as out:
        out.writelines(kept)
    clock.stop()
    return {"documents_out": len(kept), "package": "rensa", "survivors": [find(i) for i in range(len(lines))]}


def textdedup_dedup(args, clock, ngram=5):
    """A command of its own: what an import alone takes is taken off."""
    import datasets

    out = args.work / "out"
    folder = args.work / "in"
    folder.mkdir()
    for number, path in enumerate(args.files):
        (folder / f"{number:05d}.json.gz").symlink_to(path.resolve())
    command = f"--path json --data_files {folder}/*.json.gz --split train --cache_dir {args.work}/cache --output {out}"
    command += f" --column text --ngram {ngram} --num_perm 112 --b 14 --r 8 --hash_func xxh3 --hash_bits 32"
    command += " --min_length 1 --num_proc 1 --debug"
    clock.start()
    _call([sys.executable, "-c", "import text_dedup.minhash"])
    clock.stop()
    importing = clock.seconds
    clock.start()
    _call([sys.executable, "-m", "text_dedup.minhash", *command.split()])
    clock.stop()
    clock.seconds -= importing
    with open(out / "uf.pkl", "rb") as file:
        forest = pickle.load(file)
    kept = datasets.load_from_disk(str(out))["text"]
    clusters, stays = [], {}
    for number, text in enumerate(texts_of(args.files)):  # what stays, stays in order
        clusters.append(forest.find(number))
        if len(stays) < len(kept) and text == kept[len(stays)]:
            stays[clusters[-1]] = number
    survivors = [stays[cluster] for cluster in clusters]
    return {"documents_out": len(kept), "package": "text-dedup", "survivors": survivors}


def textdedup_dedup_1gram(args, clock):
    """Single words, as it splits at punctuation alone and a Japanese clause is one word to it."""
    return textdedup_dedup(args, clock, 1)


def _encode(args, clock, encode, package):
    import numpy as np

    end, documents, tokens = np.array([2], np.uint16).tobytes(), 0, 0
    clock.start()
    with open(args.work / "out.bin", "wb") as out:
        for text in texts_of(args.files):
            ids = np.asarray(encode(text), np.uint16)
            out.write(ids.tobytes())
            out.write(end)
            tokens += len(ids) + 1
            documents += 1
    clock.stop()
    return {"documents_out": documents, "tokens": tokens, "package": package}


def sentencepiece(args, clock):
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=args.tokenizer)
    return _encode(args, clock, lambda text: processor.encode(text, out_type="numpy"), "sentencepiece")


def kitoken(args, clock):
    from kitoken import Kitoken

    return _encode(args, clock, Kitoken.from_sentencepiece_file(args.tokenizer).encode, "kitoken")


def main():
    """Run one driver and print what it measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tokenizer")
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()
    mb = sum(len(text.encode()) for text in texts_of(args.files)) / 1e6
    clock = Clock()
    result = globals()[args.driver](args, clock)
    package = result.pop("package")
    version = importlib.metadata.version(package) if package else None
    print(json.dumps({"mb": mb, "cpu_seconds": clock.seconds, "package": package, "version": version, **result}))


if __name__ == "__main__":
    main()
