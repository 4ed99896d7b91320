"""The workspace: the folder one corpus lives in, held for one run at a time."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from corpuskit.config import UserError, load_pipeline
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Executor, Runner, workspace_lock
from corpuskit.engine.store import Receipt, as_inputs, make_folder, read_receipts, sweep_strays, write_json
from corpuskit.rulesets import presets

log = logging.getLogger("corpuskit")


@contextmanager
def open_space(
    root: Path, workers: int = 1, executor: Executor = "local", *, existing: bool = False
) -> Iterator[Workspace]:
    """A workspace (or the --out folder of a command), held for one run at a time.

    Raises:
        UserError: another run holds it, it must exist and does not, or it cannot be made.
    """
    if existing and not root.is_dir():
        raise UserError(f"--workspace {root}: no such folder; build a corpus with: corpuskit corpus --lang ja")
    if not existing:
        make_folder(root)
    with workspace_lock(root):
        sweep_strays(root, root / "report", root / "mix")
        yield Workspace(root, Runner(executor, workers))


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder one corpus lives in, and the runner that works there."""

    root: Path
    runner: Runner

    def languages(self, step: str) -> list[str]:
        """The languages a step (`corpus`, `bins`, ...) has finished here."""
        folder = self.root / step
        found = (
            (p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")) if folder.is_dir() else ()
        )
        languages = sorted(lang for lang in found if read_receipts(folder / lang))
        if step != "corpus":
            return languages
        unfinished = [lang for lang in languages if not self._finished(lang)]
        for lang in unfinished:
            again = f"corpuskit corpus --lang {lang}{self._rules_option(lang)}"
            log.warning("the corpus of %s is unfinished and left out; run: %s", lang, again)
        return [lang for lang in languages if lang not in unfinished]

    def _finished(self, lang: str) -> bool:
        """Whether every shard that was cleaned has come through to the corpus, and by the verdicts of today."""
        folders = [self.root / step / lang for step in ("clean", "decide", "dedup", "corpus")]
        if any((folder / "failed.json").exists() for folder in folders):
            return False
        cleaned, decided, deduplicated, scrubbed = ({r.shard: r for r in read_receipts(folder)} for folder in folders)
        chain = [deduplicated]
        for folder in (self.root / step / lang for step in ("paragraphs", "substring")):  # steps a pipeline may have
            if (folder / "failed.json").exists():
                return False
            if made := {r.shard: r for r in read_receipts(folder)}:
                chain.append(made)
        chain.append(scrubbed)
        if any(step.keys() != cleaned.keys() for step in (decided, *chain)):
            return False
        return all(
            follows(decided[shard], cleaned[shard], "signals")
            and follows(deduplicated[shard], cleaned[shard], "documents")
            and follows(deduplicated[shard], decided[shard], "rows")
            and all(follows(after[shard], before[shard], "kept") for before, after in itertools.pairwise(chain))
            for shard in cleaned
        )

    def _rules_option(self, lang: str) -> str:
        """What a command says to keep the verdicts there are; nothing where they are by the language's own rules."""
        decided = read_receipts(self.root / "decide" / lang)
        name = decided[0].params["preset"] if decided else load_pipeline(lang).rules
        if name == load_pipeline(lang).rules:
            return ""
        return f" --rules {name}" if name in presets(lang) else f" --rules FILE (the one named {name})"

    def corpus_shards(self, lang: str) -> list[Shard]:
        """The finished corpus of a language as shards, each with its one documents file."""
        folder = self.root / "corpus" / lang
        return documents(folder, read_receipts(folder), self.root)

    def cluster_sizes(self, lang: str) -> dict[str, Input]:
        """What `dedup` wrote of the sizes of clusters in a language, by name of shard.

        Raises:
            UserError: it is not there for every shard of the corpus.
        """
        folder = self.root / "dedup" / lang
        sizes = {Path(f.path).stem: f for f in as_inputs(folder, read_receipts(folder), "signals", self.root)}
        for shard in self.corpus_shards(lang):
            if shard.name not in sizes or not Path(sizes[shard.name].path).is_file():
                again = f"corpuskit corpus --lang {lang}{self._rules_option(lang)}"
                raise UserError(
                    f"{folder / 'signals' / shard.name}.parquet: is gone, and with it the sizes of clusters that "
                    f"documents are weighed by; make it again with: {again}"
                )
        return sizes


def documents(folder: Path, receipts: Sequence[Receipt], root: Path) -> list[Shard]:
    """The kept documents of finished shards, as shards of the same names for the next stage."""
    return [
        Shard(r.shard, tuple(as_inputs(folder, [r], "kept", root)), {"source": r.counts["source"]}) for r in receipts
    ]


def follows(after: Receipt, before: Receipt, kind: str) -> bool:
    """Whether a shard was made of the outputs of this kind that stand there now."""
    used = {i["sha256"] for i in after.inputs}
    return all(o.sha256 in used for o in before.outputs if o.path.startswith(f"{kind}/"))


def chosen_documents(root: Path, lang: str, cleaned: Sequence[Receipt], decided: Sequence[Receipt]) -> list[Shard]:
    """The cleaned documents of a language and the rows of them that are kept, as shards for `dedup`."""
    clean_in, decide_in = root / "clean" / lang, root / "decide" / lang
    return [
        Shard(
            c.shard,
            (*as_inputs(clean_in, [c], "documents", root), *as_inputs(decide_in, [d], "rows", root)),
            {"source": c.counts["source"]},
        )
        for c, d in zip(cleaned, decided, strict=True)
    ]


def held_profile(root: Path) -> str:
    """The profile whose corpora a workspace holds."""
    path = root / "workspace.json"
    return str(orjson.loads(path.read_bytes())["profile"]) if path.is_file() else "sample"


def check_profile(root: Path, profile: str) -> str:
    """Keep the corpora of two profiles apart: one workspace holds one profile. Returns the one it holds.

    The sample makes room for another profile, since it is rebuilt in seconds; nothing makes room for the sample.

    Raises:
        UserError: the workspace holds the corpus of another profile.
    """
    held = held_profile(root) if (root / "workspace.json").is_file() else profile
    if held not in ("sample", profile):
        raise UserError(f"{root}: holds a corpus of the profile {held}; choose another folder with --workspace")
    return held


def claim_workspace(root: Path, profile: str) -> None:
    """Write down which profile the workspace holds; a sample that was there makes room for another profile.

    Raises:
        UserError: as check_profile.
    """
    if check_profile(root, profile) != profile:
        for step in (
            "split",
            "clean",
            "decide",
            "dedup",
            "paragraphs",
            "substring",
            "corpus",
            "tokenizer",
            "bins",
            "mix",
            "report",
        ):
            shutil.rmtree(root / step, ignore_errors=True)
    write_json(root / "workspace.json", {"profile": profile})
