"""Saving and loading: parameters and AdamW's state as sharded tensors, the rest in the manifest beside them.

A checkpoint is written by all processes at once through torch.distributed.checkpoint into a temporary folder, renamed,
and then marked with its manifest (see runs.py). Only tensors are stored, under plain names (`model.<parameter>`,
`exp_avg.<parameter>`, `exp_avg_sq.<parameter>`), so any number of processes can read what any other number wrote, and
nothing but DCP's own `.metadata` is a pickle.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from corpuskit.engine.store import write_json
from corpuskit.train.model import Llama
from corpuskit.train.parallel import Group
from corpuskit.train.runs import MARKER, Checkpoint, Manifest, complete_checkpoints

KEEP = 2  # the newest may be lost with the disk block it stands on; more is the user's to copy


def save_checkpoint(group: Group, folder: Path, manifest: Manifest, model: Llama, optimizer: torch.optim.AdamW) -> Path:
    """Write a checkpoint of the run in `folder` and remove all but the last two. All processes call it together.

    Returns:
        The checkpoint's folder.
    """
    final = folder / "checkpoints" / f"step-{manifest.step:08d}"
    temporary = final.with_name(f".tmp-{final.name}")
    with _single_process_is_fine():
        save(_tensors(model, optimizer), checkpoint_id=temporary)

    def publish() -> None:
        shutil.rmtree(final, ignore_errors=True)  # one that was renamed but never marked
        temporary.replace(final)
        write_json(final / MARKER, manifest.model_dump())
        _sync_folder(final.parent)
        for old in complete_checkpoints(folder)[:-KEEP]:
            (old / MARKER).unlink()  # first: a half removed checkpoint must not count
            shutil.rmtree(old)

    group.from_main(publish)
    return final


def load_checkpoint(checkpoint: Checkpoint, model: Llama, optimizer: torch.optim.AdamW) -> None:
    """Fill the model and the optimizer in place. All processes call it together."""
    for settings in optimizer.param_groups:
        for parameter in settings["params"]:
            # AdamW keeps its step count on the parameter's device if it is fused, on the CPU if not
            device = parameter.device if settings["fused"] else "cpu"
            optimizer.state[parameter] = {
                "step": torch.tensor(float(checkpoint.manifest.step), device=device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
    with _single_process_is_fine():
        load(_tensors(model, optimizer), checkpoint_id=checkpoint.path)


def sweep(folder: Path) -> None:
    """Remove what killed runs left: temporary folders, and checkpoints that were never marked."""
    complete = set(complete_checkpoints(folder))
    for path in folder.glob("checkpoints/*"):
        if path.is_dir() and path not in complete:
            shutil.rmtree(path)
    for path in folder.glob(".*.tmp"):
        path.unlink()


def _tensors(model: Llama, optimizer: torch.optim.AdamW) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[f"model.{name}"] = parameter.detach()
        tensors[f"exp_avg.{name}"] = optimizer.state[parameter]["exp_avg"]
        tensors[f"exp_avg_sq.{name}"] = optimizer.state[parameter]["exp_avg_sq"]
    return tensors


@contextmanager
def _single_process_is_fine() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        yield


def _sync_folder(path: Path) -> None:
    """Have the folder's renames on disk before an older checkpoint goes."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
