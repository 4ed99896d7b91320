"""A run on disk: its folder, its checkpoints' manifests, and the plan of what is left to do. No torch here.

    workspace/train/<run>/
      metrics.jsonl                        one row a step
      result.json                          what `train` returns, once the last step is done
      lock                                 held by the process that trains
      checkpoints/step-00000500/           written by torch.distributed.checkpoint under a temporary name
        COMPLETE.json                      the manifest, written last: a folder without it does not count

The state of the data is one integer, the position of the next window, and the fingerprint of the order it counts in.
So a run goes on at any number of processes and any batch size, and never on another order by mistake.
"""

from __future__ import annotations

import fcntl
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from corpuskit.config import Strict, UserError
from corpuskit.mix.order import WindowOrder
from corpuskit.train.config import TrainConfig

MARKER = "COMPLETE.json"
LOCK_SECONDS = 60.0  # long enough for the orphans of a killed launcher to save and leave


class Manifest(Strict):
    """What a checkpoint was made of."""

    format: int = 1
    step: int  # optimizer steps done
    next_window: int  # position in the order of the first window that was not trained on
    order_fingerprint: str
    tokenizer_sha256: str
    vocab_size: int
    num_parameters: int
    config: TrainConfig
    torch: str  # version that wrote it


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: its folder and its manifest."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True)
class Plan:
    """What a run has to do: from the checkpoint (or the beginning) to the last step."""

    folder: Path
    last_step: int
    start: Checkpoint | None
    result: dict[str, Any] | None  # of a run that is finished already

    @property
    def first_step(self) -> int:
        """Steps that are done."""
        return self.start.manifest.step if self.start else 0

    @property
    def next_window(self) -> int:
        """Position of the first window to train on."""
        return self.start.manifest.next_window if self.start else 0


def run_folder(workspace: Path, run: str) -> Path:
    """The folder of a run.

    Raises:
        UserError: the name is no plain file name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", run):
        raise UserError(f"--run {run!r}: a run's name is made of letters, digits, '.', '_' and '-'")
    return workspace / "train" / run


def complete_checkpoints(folder: Path) -> list[Path]:
    """The folders of the complete checkpoints of a run, oldest first."""
    found = (p.parent for p in folder.glob(f"checkpoints/step-*/{MARKER}"))
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint to go on from.

    Raises:
        UserError: its manifest is not one this version can read.
    """
    paths = complete_checkpoints(folder)
    if not paths:
        return None
    marker = paths[-1] / MARKER
    try:
        return Checkpoint(paths[-1], Manifest.model_validate_json(marker.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{marker}: {where}: {first['msg']}; another version of corpuskit wrote it, start a new run with --run NAME"
        ) from error


def make_plan(
    folder: Path, order: WindowOrder, config: TrainConfig, start: Checkpoint | None, *, steps: int | None, resume: bool
) -> Plan:
    """Check that the run may go on, and how far the mixture reaches. Reads only; every process comes to the same plan.

    Args:
        start: the checkpoint to go on from, None at the beginning.
        steps: where the run ends, counted from its beginning; None asks for the configuration's, or for what the
            mixture holds where that is less.
        resume: False refuses to go on with a run that has a checkpoint.

    Raises:
        UserError: the run exists and may not be resumed, it was trained on something else, or the mixture is too small.
    """
    if start is not None:
        if not resume:
            raise UserError(f"{folder}: this run is at step {start.manifest.step} already; name another: --run NAME")
        _refuse_other_run(start, order, config)
    done, position = (start.manifest.step, start.manifest.next_window) if start else (0, 0)
    batch = config.global_batch_sequences
    held = done + (order.num_windows - position) // batch
    windows = f"the mixture has {order.num_windows} training windows, enough for {held} steps of {batch}"
    if steps is not None and steps < 1:
        raise UserError(f"--steps {steps}: ask for at least one")
    if held == 0 or (steps or 0) > held:
        raise UserError(
            f"--steps {steps or config.steps}: {windows}; ask for fewer, lower global_batch_sequences, "
            "or mix more tokens (or epochs)"
        )
    last_step = steps or min(config.steps, held)
    return Plan(folder, last_step, start, _result(folder, last_step) if done >= last_step else None)


def _refuse_other_run(start: Checkpoint, order: WindowOrder, config: TrainConfig) -> None:
    """Raise a UserError that names every difference in data or shape between a checkpoint and what is asked now."""
    manifest = start.manifest
    before, now = manifest.config, config
    pairs = [
        ("order of windows", manifest.order_fingerprint[:12], order.fingerprint[:12]),
        ("tokenizer", manifest.tokenizer_sha256[:12], order.tokenizer_sha256[:12]),
        ("vocab_size", manifest.vocab_size, order.vocab_size),
        ("sequence_length", before.sequence_length, now.sequence_length),
        *((f"model.{n}", getattr(before.model, n), getattr(now.model, n)) for n in type(now.model).model_fields),
    ]
    changed = [f"{name} was {old}, is {new}" for name, old, new in pairs if old != new]
    if changed:
        raise UserError(
            f"{start.path}: this run cannot go on: {'; '.join(changed)}. "
            "Start a new run with --run NAME, or put back what it began with"
        )


def changed_settings(before: TrainConfig, now: TrainConfig) -> list[str]:
    """What else differs from the settings of the checkpoint: allowed, but worth a line."""
    names = (n for n in TrainConfig.model_fields if getattr(before, n) != getattr(now, n))
    return [f"{n} was {getattr(before, n)}, is {getattr(now, n)}" for n in names]


def _result(folder: Path, last_step: int) -> dict[str, Any] | None:
    """The result of a finished run; None where its process was killed before it wrote one."""
    path = folder / "result.json"
    if not path.is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result if result["steps"] >= last_step else None


def lock_run(folder: Path) -> IO[bytes]:
    """Make the run's folder and hold its lock for as long as the returned file is open.

    Raises:
        UserError: another process has trained this run for the whole minute that we waited.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / "lock", "ab")  # noqa: SIM115 (the caller closes it, or the kernel when the process dies)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                file.close()
                raise UserError(f"{folder}: another process trains this run; stop it, or use --run NAME") from error
            time.sleep(0.5)
