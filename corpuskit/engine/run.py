"""map_shards: run one stage over its plan, on Ray or in this process, and come back with the receipts.

Ray only decides where a shard runs. Plain tasks over shard files are used, not Ray Data: they were measured 5 to 7
times faster, and Ray Data's block layout would decide file contents. A shard that raises is tried again, then listed
in `failed.json` beside the receipts while the rest goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from corpuskit.config import Failure, UserError
from corpuskit.engine import store
from corpuskit.engine.plan import Shard, shard_key
from corpuskit.engine.progress import progress_bar
from corpuskit.engine.store import Receipt

log = logging.getLogger("corpuskit")

Executor = Literal["auto", "ray", "local"]
SMALL = 16_000_000  # bytes of input: work for some seconds, which is what Ray takes to start

# A stage function reads its shard's inputs, writes its files into the scratch folder and returns its counts.
StageFunction = Callable[[Shard, Path, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Stage:
    """A named, versioned step. Raise the version when the same inputs and parameters would give other bytes."""

    name: str
    version: int
    function: StageFunction


@dataclass(slots=True)
class Tally:
    """What a command's stages came to: shards that ran or were up to date, CPU seconds of each stage that ran.

    Times are no results: they are shown, and never written to a workspace.
    """

    ran: int = 0
    up_to_date: int = 0
    cpu_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Runner:
    """How and where shards run; never part of a result's key.

    Attributes:
        executor: `ray`; `local` for this process, one shard after the other; or `auto`: Ray where a cluster is named or
            already at work, or where there is more to do than it takes to start one.
        workers: shards at work at the same time.
        retries: further attempts for a shard that failed.
        tally: counts shards and CPU seconds over all stages this runner runs.
    """

    executor: Executor = "auto"
    workers: int = os.cpu_count() or 1
    retries: int = 2
    tally: Tally = field(default_factory=Tally)


class ShardsFailed(Failure):
    """Some shards of a stage failed for good; `failures` holds name and error of each."""

    def __init__(self, stage: str, folder: Path, failures: list[dict[str, str]]) -> None:
        super().__init__(f"{stage}: {len(failures)} shards failed, see {folder / 'failed.json'}")
        self.failures = failures


def map_shards(
    stage: Stage, shards: Sequence[Shard], *, out: Path, params: dict[str, Any], runner: Runner, large: bool = False
) -> list[Receipt]:
    """Run a stage over its shards and return their receipts, in plan order.

    Shards whose receipt matches are not run again; outputs of shards that left the plan are removed. `large` says that
    a shard is much work however small its inputs are, such as a list of files.

    Raises:
        ShardsFailed: after everything else has run, when some shards failed for good.
        ValueError: two shards carry the same name.
        UserError: `out` cannot be made, or holds another stage's results, or an input of this one.
    """
    if len({s.name for s in shards}) != len(shards):
        raise ValueError(f"{stage.name}: shard names are not unique")
    store.make_folder(out)
    made = store.read_receipts(out)
    if other := {r.stage for r in made} - {stage.name}:
        raise UserError(
            f"{out}: holds what '{min(other)}' made, which '{stage.name}' would replace; choose another folder"
        )
    _keep_inputs(shards, out, made)
    store.sweep(out)
    store.prune(out, [s.name for s in shards])
    (out / "failed.json").unlink(missing_ok=True)

    receipts: dict[str, Receipt] = {}
    todo = []
    for shard in shards:
        receipt = store.done(out, shard, shard_key(stage.name, stage.version, params, shard))
        if receipt:
            receipts[shard.name] = receipt
        else:
            todo.append(shard)
    runner.tally.ran += len(todo)
    runner.tally.up_to_date += len(receipts)
    failures: dict[str, str] = {}
    try:
        if todo:
            execute = _run_on_ray if wants_ray(runner, todo, large) else _run_here
            with progress_bar(stage.name, len(shards), len(receipts)) as advance:
                for result in execute(stage, todo, out, params, runner):
                    if isinstance(result, _Failure):
                        failures[result.shard] = result.error
                        log.error("%s: shard %s failed: %s", stage.name, result.shard, result.error.splitlines()[-1])
                        continue
                    receipts[result.receipt.shard] = result.receipt
                    spent = runner.tally.cpu_seconds
                    spent[stage.name] = spent.get(stage.name, 0.0) + result.cpu_seconds
                    advance(result.receipt.counts)
    finally:  # a user's mistake or Ctrl-C must leave nothing behind either
        shutil.rmtree(out / store.SCRATCH, ignore_errors=True)
    if failures:
        listed = [{"shard": s.name, "error": failures[s.name]} for s in shards if s.name in failures]
        store.write_json(out / "failed.json", listed)
        raise ShardsFailed(stage.name, out, listed)
    return [receipts[s.name] for s in shards]


def wants_ray(runner: Runner, todo: Sequence[Shard], large: bool = False) -> bool:
    """Whether these shards go to Ray."""
    if runner.executor != "auto":
        return runner.executor == "ray"
    if os.environ.get("RAY_ADDRESS") or ("ray" in sys.modules and sys.modules["ray"].is_initialized()):
        return True
    files = {source.path: source.size for shard in todo for source in shard.inputs}  # a file cut in ranges counts once
    return runner.workers > 1 and len(todo) > 1 and (large or sum(files.values()) > SMALL)


def _keep_inputs(shards: Sequence[Shard], out: Path, made: Sequence[Receipt]) -> None:
    """Refuse inputs among the files this stage writes and removes."""
    own = {(out / o.path).resolve() for receipt in made for o in receipt.outputs}
    for shard in shards:
        for source in shard.inputs:
            if "://" not in source.path and Path(source.path).resolve() in own:
                raise UserError(f"{source.path}: lies in the folder the results go to; choose another --out")


@dataclass(frozen=True, slots=True)
class _Success:
    receipt: Receipt
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class _Failure:
    shard: str
    error: str


def run_shard(stage: Stage, shard: Shard, out: Path, params: dict[str, Any]) -> _Success:
    """Run one shard to its receipt. This is what travels to a worker."""
    started = time.process_time()
    scratch = out / store.SCRATCH / f"{shard.name}.{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        counts = stage.function(shard, scratch, params)
        receipt = Receipt(
            stage=stage.name,
            version=stage.version,
            shard=shard.name,
            key=shard_key(stage.name, stage.version, params, shard),
            inputs=[i.identity() for i in shard.inputs],
            labels=shard.labels,
            params=params,
            counts=counts,
        )
        receipt = store.commit(out, scratch, receipt)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return _Success(receipt, time.process_time() - started)


def _attempt(stage: Stage, shard: Shard, out: Path, params: dict[str, Any]) -> _Success | _Failure:
    try:
        return run_shard(stage, shard, out, params)
    except UserError:
        raise
    except Exception:
        return _Failure(shard.name, traceback.format_exc())


def _run_here(
    stage: Stage, shards: Sequence[Shard], out: Path, params: dict[str, Any], runner: Runner
) -> Iterator[_Success | _Failure]:
    for shard in shards:
        for _ in range(1 + runner.retries):
            result = _attempt(stage, shard, out, params)
            if isinstance(result, _Success):
                break
        yield result


def _run_on_ray(
    stage: Stage, shards: Sequence[Shard], out: Path, params: dict[str, Any], runner: Runner
) -> Iterator[_Success | _Failure]:
    ray = start_ray(runner.workers)
    # max_retries=0: a worker that dies is retried by us, with the same bound as a shard that raises
    task = ray.remote(num_cpus=1, max_retries=0)(_attempt)
    waiting = list(reversed(shards))
    attempts: dict[str, int] = {}
    running: dict[Any, Shard] = {}
    while waiting or running:
        while waiting and len(running) < runner.workers:
            shard = waiting.pop()
            attempts[shard.name] = attempts.get(shard.name, 0) + 1
            running[task.remote(stage, shard, out, params)] = shard
        [finished], _ = ray.wait(list(running), num_returns=1)
        shard = running.pop(finished)
        try:
            result = ray.get(finished)
        except ray.exceptions.RayTaskError as error:  # _attempt lets only UserError through
            raise error.cause from None
        except ray.exceptions.RayError as error:  # the worker process died, or its node did
            result = _Failure(shard.name, f"{type(error).__name__}: {error}")
        if isinstance(result, _Failure) and attempts[shard.name] <= runner.retries:
            waiting.append(shard)
        else:
            yield result


def start_ray(workers: int) -> Any:
    """Connect to the cluster RAY_ADDRESS names, or start Ray on this machine with `workers` CPUs; once a process.

    Raises:
        Failure: nobody listens at RAY_ADDRESS; Ray itself would wait for minutes.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # one task's error ends the run and is said once, by us
    address = os.environ.get("RAY_ADDRESS")
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise Failure(f"RAY_ADDRESS={address}: no Ray cluster answers there ({error})") from None
    if address is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a private local cluster needs no token file in $HOME
    import ray

    if not ray.is_initialized():
        # "local": Ray would else look for any cluster that was started on this machine
        own = {"address": "local", "num_cpus": workers, "include_dashboard": False}
        options: dict[str, Any] = {} if address else own
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    return ray


@contextlib.contextmanager
def workspace_lock(workspace: Path) -> Iterator[None]:
    """Hold the workspace for one run at a time. The lock is on the folder itself and leaves no file behind.

    Raises:
        UserError: another corpuskit process is at work in this workspace.
    """
    handle = os.open(workspace, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{workspace}: another corpuskit run is at work in this folder; wait for it, or stop it"
            ) from None
        except OSError:  # a network file system without flock: better unlocked than unusable
            log.warning("%s: this file system knows no locks; do not start two runs at once", workspace)
        yield
    finally:
        os.close(handle)


class _PlainLines(logging.Formatter):
    """A line may quote foreign data, which must not steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return "".join(c if c.isprintable() else "\ufffd" for c in super().format(record))


def setup_logging(verbose: bool) -> None:
    """Log to stderr, one plain line an event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainLines("%(levelname)s: %(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO if verbose else logging.WARNING)
    log.propagate = False
