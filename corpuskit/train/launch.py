"""Start a training run: in this process, or in several through torch's own launcher.

`launch` is what `corpuskit train` calls. One process trains right here, and so does each process that torchrun has
started; for more, everything that can be checked without torch is checked first, so that a mistake is one line and
not one traceback a process, and torch.distributed.run starts `python -m corpuskit.train` that many times.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import orjson

from corpuskit.config import UserError
from corpuskit.mix.order import WindowOrder
from corpuskit.train.config import TrainConfig, load_config
from corpuskit.train.metrics import MetricsLog
from corpuskit.train.runs import make_plan, newest_checkpoint, run_folder

SHUTDOWN_SECONDS = 120  # after SIGTERM: the step under way and a checkpoint, before the processes are killed


def launch(workspace: Path, config_name: str, run: str, steps: int | None, processes: int, json: bool) -> int:
    """Train a run to its end, going on from its newest checkpoint.

    Args:
        config_name: a shipped configuration or the path of one.
        steps: where the run ends; None for the configuration's steps or what the mixture holds.
        processes: how many to start on this machine; of no effect under torchrun, which has started them.
        json: print the result as JSON on stdout instead of a summary.

    Returns:
        The exit code: 0 when the run is finished or was saved and left after SIGTERM, else that of the process that
        failed first (1 where a signal killed it).

    Raises:
        UserError: torch is not installed, or the run cannot start (see `train`).
    """
    if importlib.util.find_spec("torch") is None:
        raise UserError("train: PyTorch is not installed; pip install 'corpuskit[train]'")
    if processes < 1:
        raise UserError(f"--processes {processes}: ask for at least one")
    config = load_config(config_name)
    # read when torch loads: threads that wait for each other sleep, where spinning makes a busy machine 4 times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        return _launch_processes(workspace, config_name, config, run, steps, processes, json)

    from corpuskit.train.loop import train  # torch is loaded only where it is used

    result = train(workspace, config, run=run, steps=steps)
    if os.environ.get("RANK", "0") == "0":
        _print_result(result, json)
    return 0


def describe(workspace: Path, config_name: str, run: str, steps: int | None) -> dict[str, Any]:
    """What --dry-run says about a run: where it stands and ends, and what it trains on. Nothing is written.

    Raises:
        UserError: the run cannot start.
    """
    config = load_config(config_name)
    order = WindowOrder.open(workspace, config.sequence_length)
    folder = run_folder(workspace, run)
    plan = make_plan(folder, order, config, newest_checkpoint(folder), steps=steps, resume=True)
    return {
        "run": run,
        "first_step": plan.first_step,
        "last_step": plan.last_step,
        "tokens": plan.last_step * config.global_batch_sequences * config.sequence_length,
        "config": config.model_dump(),
        "mixture": [line._asdict() for line in order.plan()],
    }


def _launch_processes(
    workspace: Path, config_name: str, config: TrainConfig, run: str, steps: int | None, processes: int, json: bool
) -> int:
    folder = run_folder(workspace, run)
    order = WindowOrder.open(workspace, config.sequence_length)
    plan = make_plan(folder, order, config, newest_checkpoint(folder), steps=steps, resume=True)
    if plan.result is not None:
        print(f"run {run} is finished: {plan.first_step} steps are done; nothing to do", file=sys.stderr)
        _print_result(plan.result, json)
        return 0

    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    arguments = ["--workspace", str(workspace), "--config", config_name, "--run-name", run]
    arguments += ["--steps", str(steps)] if steps is not None else []
    arguments += ["--json"] if json else []
    launcher = ["--standalone", "--nproc-per-node", str(processes), "--shutdown_timeout", str(SHUTDOWN_SECONDS)]
    try:
        torchrun.main([*launcher, "-m", "corpuskit.train", *arguments])
    except ChildFailedError as error:
        return max(1, error.get_first_failure()[1].exitcode)
    except SignalException as error:
        # the launcher passed the signal on and waited; it does not tell how its processes ended, their files do
        start, rows = newest_checkpoint(folder), MetricsLog(folder / "metrics.jsonl").rows()
        saved = start is not None and bool(rows) and rows[-1]["step"] == start.manifest.step
        return 0 if saved else 128 + int(error.sigval)
    return 0


def _print_result(result: dict[str, Any], json: bool) -> None:
    if json:
        print(orjson.dumps(result, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode(), flush=True)
        return
    print(f"run {result['run']}: {result['steps']} steps, {result['tokens']:,} tokens")
    losses = {"train loss": result["final_train_loss"], "uniform guess": result["uniform_loss"]}
    losses |= {f"held-out {language}": loss for language, loss in result["heldout_loss"].items()}
    for name, loss in losses.items():
        print(f"{name:<13} {'unknown' if loss is None else format(loss, '.4f')}")
    print(f"checkpoint    {result['checkpoint']}", flush=True)
