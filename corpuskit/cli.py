"""The command line: parse, call, print. Results go to stdout, everything else to stderr.

Exit code 0: done. 1: something failed (it is listed). 2: wrong usage, said in one line.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corpuskit import __version__
from corpuskit.report.terminal import harmless

app = typer.Typer(
    name="corpuskit",
    help="From public web dumps to a clean Japanese pretraining corpus, token bins and a trained model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
tokenizer_app = typer.Typer(help="Train the tokenizer.", no_args_is_help=True)
app.add_typer(tokenizer_app, name="tokenizer")

Executor = Literal["auto", "ray", "local"]


def _local(param: typer.CallbackParam, folder: Path | None) -> Path | None:
    """Refuse a URL, which as a path would be a folder called `s3:`."""
    if folder is not None and (url := re.match(r"([A-Za-z][\w+.-]+):(?:/|$)(.*)", str(folder))):
        from corpuskit.config import UserError

        raise UserError(
            f"{param.opts[0]} {url[1]}://{url[2]}: must be a folder of this machine; inputs and mirrors may be URLs, "
            "and results can be copied there when they are done"
        )
    return folder


WorkspaceOption = Annotated[Path, typer.Option("--workspace", callback=_local, help="Folder the corpus lives in.")]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Shards at work at the same time.")]
ExecutorOption = Annotated[Executor, typer.Option("--executor", help="ray; local: this process; auto: ray if it pays.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done and stop.")]
LangOption = Annotated[str, typer.Option("--lang", help="Language, such as ja.")]
InputOption = Annotated[
    list[str], typer.Option("--input", help="Files to read: a path, a glob, a folder, or an s3:// URL.")
]
OutOption = Annotated[Path, typer.Option("--out", callback=_local, help="Folder to write to.")]
TextFieldOption = Annotated[str, typer.Option("--text-field", help="Field or column that holds the text.")]
TextUnitOption = Annotated[
    Literal["file", "line"], typer.Option("--text-unit", help="What one document of a text file is.")
]
ReaderOption = Annotated[
    str | None,
    typer.Option("--reader", help="Read --input as this, whatever its names: aozora, cc100, cirrus, jsonl, ..."),
]
UrlFieldOption = Annotated[str, typer.Option("--url-field", help="Field or column that holds the URL.")]
LidOption = Annotated[str | None, typer.Option("--lid-model", help="fastText language model to use.")]
RulesOption = Annotated[str | None, typer.Option("--rules", help="Rule preset, or a file of rules.")]
ProfileOption = Annotated[str, typer.Option("--profile", help="sample (bundled, no network), full, or another one.")]
MirrorOption = Annotated[
    str | None, typer.Option("--mirror", help="URL or folder laid out as the hosts serve the files.")
]
SourceOption = Annotated[list[str], typer.Option("--source", help="Only this source; may be given more than once.")]
ShardsOption = Annotated[str | None, typer.Option("--shards", help="Only these numbered files, such as 0-15, or all.")]

AgainstOption = Annotated[
    Path | None, typer.Option("--against", help="Earlier corpus or workspace: it stays, and what is in it goes.")
]
RemovedOption = Annotated[
    Literal["all", "sample", "none"],
    typer.Option("--removed", help="What is written of removed documents: all, 20 a rule and file, none."),
]

WORKSPACE = Path("workspace")
WORKERS = os.cpu_count() or 1


def _version(value: bool) -> None:
    if value:
        print(f"corpuskit {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more.")] = False,
) -> None:
    from corpuskit.engine.run import setup_logging

    setup_logging(verbose)


@app.command()
def corpus(
    lang: LangOption,
    profile: ProfileOption = "sample",
    mirror: MirrorOption = None,
    source: SourceOption = [],  # noqa: B006 - typer copies it
    shards: ShardsOption = None,
    rules: RulesOption = None,
    lid_model: LidOption = None,
    against: AgainstOption = None,
    removed: RemovedOption = "all",
    workspace: WorkspaceOption = WORKSPACE,
    workers: WorkersOption = WORKERS,
    executor: ExecutorOption = "auto",
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Build the corpus of a language: fetch, clean, deduplicate, mask; then tokenizer, bins and report."""
    from corpuskit.build.corpus import closing_lines, run_corpus
    from corpuskit.build.sources import describe, part_notes, plan_corpus
    from corpuskit.build.workspace import open_space

    plan = plan_corpus(lang, profile, mirror, source, shards, lid_model, rules, against, removed)
    if dry_run:
        _show(describe(plan), as_json)
        return
    for note in part_notes(plan):
        _complain(note)
    with open_space(workspace, workers, executor) as space:
        result = run_corpus(space, plan)
    if as_json:
        _print_json(result)
        return
    from corpuskit.report.funnel import print_funnel

    print_funnel(result["languages"], result["cpu_seconds"])
    for line in closing_lines(space, plan, result):
        print(line)


@app.command()
def download(
    lang: LangOption,
    profile: ProfileOption = "full",
    mirror: MirrorOption = None,
    source: SourceOption = [],  # noqa: B006
    shards: ShardsOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Fetch nothing; see whether fetched files changed, here or upstream.")
    ] = False,
    workspace: WorkspaceOption = WORKSPACE,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Fetch the upstream files of a language into the workspace, go on with unfinished ones, and verify them."""
    from corpuskit.build.sources import check_sources, describe_download, fetch_sources, part_notes, plan_corpus
    from corpuskit.build.workspace import open_space

    plan = plan_corpus(lang, profile, mirror, source, shards, None)
    if dry_run:
        _show(describe_download(workspace, plan), as_json)
        return
    notes = part_notes(plan)
    for note in notes:
        _complain(note)
    with open_space(workspace, existing=check) as space:
        if check:
            _show(check_sources(space.root, plan), as_json)
            return
        files = [f for r in plan for f in fetch_sources(space, r.sources, r.mirror or r.profile.mirror).values()]
    result = {"files": len(files), "bytes": sum(f.size for f in files), "notes": notes}
    _show(result, as_json)


@app.command()
def clean(
    lang: LangOption,
    input: InputOption,
    out: OutOption,
    rules: RulesOption = None,
    text_field: TextFieldOption = "text",
    url_field: UrlFieldOption = "url",
    text_unit: TextUnitOption = "file",
    reader: ReaderOption = None,
    lid_model: LidOption = None,
    removed: RemovedOption = "all",
    workers: WorkersOption = WORKERS,
    executor: ExecutorOption = "auto",
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Clean any files: normalise, measure, decide."""
    from corpuskit.build.files import check_out, clean_files, describe_files, plan_clean_files
    from corpuskit.build.workspace import open_space

    check_out(input, out)
    plan = plan_clean_files(lang, input, text_field, url_field, rules, text_unit, reader)
    if dry_run:
        _show(describe_files(plan.shards), as_json)
        return
    with open_space(out, workers, executor) as space:
        funnel = clean_files(plan, out=out, runner=space.runner, lid_model=lid_model, removed=removed)
    _funnel(lang, funnel, as_json, space)


@app.command()
def decide(
    rules: RulesOption = None,
    lang: Annotated[str | None, typer.Option("--lang", help="Language, where the rules do not say it.")] = None,
    diff: Annotated[
        str | None, typer.Option("--diff", help="Write nothing; show what moves from this preset or file to --rules.")
    ] = None,
    workspace: WorkspaceOption = WORKSPACE,
    workers: WorkersOption = WORKERS,
    executor: ExecutorOption = "auto",
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Decide again what is kept, from the signals alone, or compare two sets of rules."""
    from corpuskit.build.decide import compare_rules, decide_again, describe_decide, plan_decide
    from corpuskit.build.workspace import open_space
    from corpuskit.report.moves import print_decided, print_moves

    with open_space(workspace, workers, executor, existing=True) as space:
        plan = plan_decide(space, lang, rules, diff)
        if dry_run:
            _show(describe_decide(plan), as_json)
            return
        result = compare_rules(space, plan) if diff else decide_again(space, plan)
    if as_json:
        _print_json(result)
    elif diff:
        print_moves(result)
    else:
        print_decided(result, space.runner.tally.cpu_seconds)


@app.command()
def dedup(
    input: InputOption,
    out: OutOption,
    lang: LangOption = "ja",
    text_field: TextFieldOption = "text",
    url_field: UrlFieldOption = "url",
    text_unit: TextUnitOption = "file",
    reader: ReaderOption = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="sharp, fineweb, refinedweb, swallow, llm-jp, or exact alone.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Jaccard from which two documents are duplicates.")
    ] = None,
    exact: Annotated[
        str | None, typer.Option("--exact", help="What makes exact duplicates: text,shadow,url; or none.")
    ] = None,
    survivor: Annotated[
        str | None, typer.Option("--survivor", help="Which copy stays: length,source,newest,oldest, in this order.")
    ] = None,
    prefer: Annotated[
        list[str], typer.Option("--prefer", help="Source that stays before all others; repeat for more.")
    ] = [],  # noqa: B006
    drop_all: Annotated[bool, typer.Option("--drop-all", help="Keep no copy of what has duplicates.")] = False,
    transitive: Annotated[
        bool, typer.Option("--transitive", help="Remove whole components, though their ends may be unlike.")
    ] = False,
    scope: Annotated[
        Literal["all", "source"] | None, typer.Option("--scope", help="Across all sources, or within each alone.")
    ] = None,
    against: AgainstOption = None,
    memory_gb: Annotated[float | None, typer.Option("--memory-gb", help="RAM of one worker while clustering.")] = None,
    paragraphs: Annotated[
        int | None,
        typer.Option(
            "--paragraphs", min=2, help="Also cut runs of lines that so many documents have.", metavar="DOCUMENTS"
        ),
    ] = None,
    substring: Annotated[
        int | None,
        typer.Option(
            "--substring",
            min=16,
            max=10_000,
            help="Also cut spans of so many characters that repeat.",
            metavar="CHARACTERS",
        ),
    ] = None,
    substring_mode: Annotated[
        Literal["cut", "mask", "drop"] | None,
        typer.Option("--substring-mode", help="What happens to such spans, or their documents: cut by default."),
    ] = None,
    removed: RemovedOption = "all",
    workers: WorkersOption = WORKERS,
    executor: ExecutorOption = "auto",
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Remove exact and near duplicates from any files, over all of them together."""
    from corpuskit.build.files import (
        announce_dedup,
        check_out,
        dedup_files,
        describe_dedup,
        foreign_shards,
        plan_dedup_files,
    )
    from corpuskit.build.workspace import open_space
    from corpuskit.config import Paragraphs, Substring, UserError

    if substring_mode and substring is None:
        raise UserError(f"--substring-mode {substring_mode}: needs --substring CHARACTERS, such as --substring 100")
    given = {
        "preset": preset,
        "threshold": threshold,
        "exact": None if exact is None else () if exact == "none" else tuple(exact.split(",")),
        "survivor": tuple(survivor.split(",")) if survivor else None,
        "prefer": tuple(prefer) or None,
        "drop_all": drop_all or None,
        "transitive": transitive or None,
        "scope": scope,
        "memory_gb": memory_gb,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    lines = Paragraphs(documents=paragraphs) if paragraphs else None
    spans = Substring(length=substring, mode=substring_mode or "cut") if substring else None
    check_out(input, out)
    shards = foreign_shards(input, lang, text_field, url_field, text_unit, reader)
    plan = plan_dedup_files(shards, lang, changes, against, lines, spans)
    if dry_run:
        _show(describe_dedup(plan), as_json)
        return
    if not as_json:
        print(announce_dedup(plan), flush=True)
    with open_space(out, workers, executor) as space:
        funnel = dedup_files(plan, out=out, runner=space.runner, removed=removed)
    _funnel(lang, funnel, as_json, space)


@app.command()
def scrub(
    input: InputOption,
    out: OutOption,
    lang: LangOption = "ja",
    text_field: TextFieldOption = "text",
    url_field: UrlFieldOption = "url",
    text_unit: TextUnitOption = "file",
    reader: ReaderOption = None,
    workers: WorkersOption = WORKERS,
    executor: ExecutorOption = "auto",
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Mask personal information in any files."""
    from corpuskit.build.files import check_out, describe_files, foreign_shards, scrub_files
    from corpuskit.build.workspace import open_space

    check_out(input, out)
    shards = foreign_shards(input, lang, text_field, url_field, text_unit, reader)
    if dry_run:
        _show(describe_files(shards), as_json)
        return
    with open_space(out, workers, executor) as space:
        funnel = scrub_files(shards, lang, out=out, runner=space.runner)
    _funnel(lang, funnel, as_json, space)


@tokenizer_app.command("train")
def tokenizer_train(
    vocab_size: Annotated[
        int, typer.Option("--vocab-size", min=300, max=1 << 20, help="Pieces of the vocabulary.")
    ] = 32000,
    workspace: WorkspaceOption = WORKSPACE,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train the workspace's tokenizer, on the mixture's languages where there is a mixture, else on all."""
    from corpuskit.build.tokens import train_tokenizer
    from corpuskit.build.workspace import open_space

    with open_space(workspace, existing=True) as space:
        if dry_run:
            _show({"vocab_size": vocab_size, "languages": space.languages("corpus")}, as_json)
            return
        receipt = train_tokenizer(space, vocab_size)
    result = {"model": str(workspace / "tokenizer" / "tokenizer.model"), **receipt.counts, **_work(space)}
    _show(result, as_json)


@app.command()
def pack(
    input: Annotated[
        list[str], typer.Option("--input", help="Pack these files instead of the workspace's corpora.")
    ] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option("--out", callback=_local, help="Folder for the bins of --input.")] = None,
    lang: LangOption = "ja",
    text_field: TextFieldOption = "text",
    url_field: UrlFieldOption = "url",
    text_unit: TextUnitOption = "file",
    reader: ReaderOption = None,
    tokenizer: Annotated[str | None, typer.Option("--tokenizer", help="SentencePiece model for --input.")] = None,
    workspace: WorkspaceOption = WORKSPACE,
    workers: WorkersOption = WORKERS,
    executor: ExecutorOption = "auto",
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Encode the corpora of the workspace, or any files, into token bins."""
    from corpuskit.build.files import check_out, describe_files, foreign_shards, pack_files
    from corpuskit.build.tokens import pack_corpora, tokenizer_input
    from corpuskit.build.workspace import open_space
    from corpuskit.config import UserError

    if not input:
        if out is not None or tokenizer is not None:
            raise UserError("pack: --out and --tokenizer belong to --input; a workspace has its own bins and tokenizer")
        with open_space(workspace, workers, executor, existing=True) as space:
            if dry_run:
                _show({"languages": space.languages("corpus"), "tokenizer": tokenizer_input(space).name}, as_json)
                return
            packed = pack_corpora(space)
        _show({**packed, **_work(space)}, as_json)
        return
    if out is None or tokenizer is None:
        raise UserError("pack --input needs --out DIR and --tokenizer MODEL as well")
    check_out(input, out)
    shards = foreign_shards(input, lang, text_field, url_field, text_unit, reader)
    if dry_run:
        _show(describe_files(shards), as_json)
        return
    with open_space(out, workers, executor) as space:
        _show(pack_files(shards, lang, tokenizer, out=out, runner=space.runner), as_json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def mix(
    context: typer.Context,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, max=10**18, help="Tokens of the run.")] = None,
    max_epochs: Annotated[float, typer.Option("--max-epochs", help="How often a language may be repeated.")] = 4.0,
    seed: Annotated[int, typer.Option("--seed", min=0, max=1 << 32, help="Seed of the order of windows.")] = 0,
    weights: Annotated[
        list[str],
        typer.Option("--weights", help="Count documents by the size of their cluster: fineweb2-jpn, or a YAML file."),
    ] = [],  # noqa: B006
    workspace: WorkspaceOption = WORKSPACE,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Set the mixture by shares of tokens: corpuskit mix --ja 0.57 --en 0.31."""
    from corpuskit.build.tokens import parse_shares, print_mix, set_mixture
    from corpuskit.build.workspace import open_space

    shares = parse_shares(context.args)
    with open_space(workspace, existing=True) as space:
        result = set_mixture(
            space, shares, tokens=tokens, max_epochs=max_epochs, seed=seed, weights=weights, save=not dry_run
        )
    if as_json:
        _print_json(result)
        return
    print_mix(result)


@app.command()
def train(
    config: Annotated[str, typer.Option("--config", help="tiny, 25m, 124m, 350m, 1b, or a YAML file.")] = "tiny",
    processes: Annotated[int, typer.Option("--processes", min=1, help="Training processes on this machine.")] = 1,
    run: Annotated[
        str, typer.Option("--run", help="Name of the run; the same name goes on where it stopped.")
    ] = "default",
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Stop after so many steps.")] = None,
    workspace: WorkspaceOption = WORKSPACE,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train a Llama-style model on the mixture; with several processes by FSDP2."""
    from corpuskit.train.launch import describe, launch

    if dry_run:
        _show(describe(workspace, config, run, steps), as_json)
        return
    raise typer.Exit(launch(workspace, config, run=run, steps=steps, processes=processes, json=as_json))


@app.command()
def explain(
    document: Annotated[str, typer.Argument(help="An id of the workspace, a text file, or - for standard input.")],
    lang: Annotated[str | None, typer.Option("--lang", help="Language; of a text ja, unless said.")] = None,
    rules: RulesOption = None,
    lid_model: LidOption = None,
    workspace: WorkspaceOption = WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Say why a document is kept or not: its signals, the bounds, the verdict, and what was cut from its text."""
    from corpuskit.build.explain import explain as explain_document
    from corpuskit.report.explained import print_explained

    found = explain_document(document, lang, rules, workspace, lid_model)
    if as_json:
        _print_json(found)
    else:
        print_explained(found)


@app.command()
def report(
    workspace: WorkspaceOption = WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Write report/funnel.json and report/index.html, and show the funnel."""
    from corpuskit.build.corpus import make_report
    from corpuskit.build.workspace import open_space
    from corpuskit.report.funnel import print_funnel

    with open_space(workspace, existing=True) as space:
        funnels, page = make_report(space)
    if as_json:
        _print_json({"languages": funnels, "page": str(page)})
        return
    print_funnel(funnels)
    print(f"Report: {page}")


def _work(space: Any) -> dict[str, int]:
    return {"shards_run": space.runner.tally.ran, "shards_up_to_date": space.runner.tally.up_to_date}


def _funnel(lang: str, funnel: dict[str, Any], as_json: bool, space: Any) -> None:
    if as_json:
        _print_json(funnel)
        return
    from corpuskit.report.funnel import print_funnel

    print_funnel({lang: funnel}, space.runner.tally.cpu_seconds)


def _show(result: Any, as_json: bool) -> None:
    if as_json:
        _print_json(result)
    else:
        import yaml

        print(harmless(yaml.safe_dump(result, sort_keys=False, allow_unicode=True)), end="")


def _print_json(result: Any) -> None:
    import orjson

    sys.stdout.write(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str).decode())


def _complain(line: str) -> None:
    """One line on stderr. It may quote foreign data."""
    print(harmless(line.replace("\n", " ")), file=sys.stderr)


def _check_words(words: list[str]) -> None:
    """Refuse what a shell makes of a variable that is empty, and names that are no text."""
    from corpuskit.config import UserError, check_utf8

    for before, word in itertools.pairwise(words):
        if not word or re.fullmatch(r"--[a-z-]+=", word):
            raise UserError(f"{word.rstrip('=') or before}: is given nothing; is a variable empty?")
        check_utf8(word)


def main() -> None:
    """Entry point: run the command, turn known errors into one line and an exit code."""
    from corpuskit.config import Failure, UserError
    from corpuskit.engine.run import ShardsFailed

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show Japanese
    try:
        _check_words(sys.argv)
        app()
    except UserError as error:
        _complain(f"error: {error}")
        sys.exit(2)
    except Failure as error:
        _complain(f"error: {error}")
        for failed in error.failures if isinstance(error, ShardsFailed) else ():
            _complain(f"  {failed['shard']}: {failed['error'].splitlines()[-1]}")
        sys.exit(1)
    except ValueError as error:
        if type(error).__name__ != "ArrowInvalid":
            raise
        _complain(f"error: a file of an earlier step is damaged; run the command that wrote it again ({error})")
        sys.exit(1)
    except SystemExit as leave:
        if leave.code == 130:  # what typer makes of Ctrl-C
            _complain("stopped; the same command goes on where this one was")
        raise
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            _complain(f"error: {error.filename}: {error.strerror}; choose another file or folder, or change its rights")
            sys.exit(2)
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
            _complain(f"error: {str(error.filename)[:200]}: {error.strerror}; choose another file or folder")
            sys.exit(2)
        if error.errno != errno.ENOSPC:
            raise
        _complain(f"error: the disk is full ({error.filename}); make room and run the same command again")
        sys.exit(1)
