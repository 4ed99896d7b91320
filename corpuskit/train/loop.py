"""The training loop: join the processes, plan, build or load, step, evaluate, save, and report.

The global batch of a step is the next `global_batch_sequences` windows of the order, whatever the number of processes
and the micro-batch: the loss is summed over targets and divided by their global number, never averaged twice. The loss
a step reports is that of the weights before it. Nothing depends on the clock or on unseeded chance: the same
configuration, mixture and number of processes give the same losses again (to the bit on the CPU; on CUDA up to the
order in which its kernels add).

Not done here: schedules of mixtures, reactions to loss spikes, remote logging, export.
"""

from __future__ import annotations

import gc
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.distributed.fsdp import FSDPModule

from corpuskit.config import UserError
from corpuskit.engine.store import write_json
from corpuskit.mix.order import WindowOrder
from corpuskit.train.checkpoint import load_checkpoint, save_checkpoint, sweep
from corpuskit.train.config import TrainConfig
from corpuskit.train.metrics import MetricsLog, flops_per_token, peak_flops
from corpuskit.train.model import IGNORED, Llama, init_weights, summed_loss
from corpuskit.train.optimizer import learning_rate, make_optimizer
from corpuskit.train.parallel import Group, close_group, compile_blocks, local_gradient, open_group, shard, share
from corpuskit.train.runs import (
    Checkpoint,
    Manifest,
    Plan,
    changed_settings,
    lock_run,
    make_plan,
    newest_checkpoint,
    run_folder,
)

GC_EVERY = 50  # steps between two collections: every process pauses at once, not each when it likes
LOSS_STEPS = 10  # the final train loss is the mean of so many last steps


def train(
    workspace: Path, config: TrainConfig, *, run: str, steps: int | None = None, resume: bool = True
) -> dict[str, Any]:
    """Train, or go on training, the run of this name. Every process of a run calls it.

    Args:
        workspace: holds the bins and the mixture; the run is written to its train/<run>/.
        steps: where the run ends, counted from its beginning; by default the configuration's steps, or as many as the
            mixture holds.
        resume: False refuses a run that has a checkpoint, instead of going on with it.

    Returns:
        run, finished (False after SIGTERM), steps and tokens since the run began, final_train_loss (nats a token, mean
        of the last 10 steps), heldout_loss by language and heldout_loss_overall (empty and None unless finished),
        uniform_loss = ln(vocabulary), num_parameters, tokens_per_second (None where no step was left), checkpoint.

    Raises:
        UserError: there is no mixture, it is too small, or the run was trained on something else.
    """
    group = open_group()
    result = _train(group, workspace, config, run, steps, resume)
    close_group(group)
    return result


def _train(
    group: Group, workspace: Path, config: TrainConfig, run: str, steps: int | None, resume: bool
) -> dict[str, Any]:
    folder = run_folder(workspace, run)
    order = WindowOrder.open(workspace, config.sequence_length)
    with ExitStack() as stack:

        def enter() -> Checkpoint | None:
            # planned once before anything is written, and again (below) when nobody else can move the checkpoint
            make_plan(folder, order, config, newest_checkpoint(folder), steps=steps, resume=resume)
            stack.enter_context(lock_run(folder))
            return newest_checkpoint(folder)

        plan = make_plan(folder, order, config, group.from_main(enter), steps=steps, resume=resume)
        if plan.result is not None:
            _say(group, f"run {run} is finished: {plan.first_step} steps are done; nothing to do")
            return plan.result
        trainer = Trainer(group, config, order, plan)
        stop = stack.enter_context(_stop_signal())
        finished = trainer.run(stop)
        return trainer.report(run, finished)


class Trainer:
    """One run's model, optimizer and position, and the steps that move them."""

    def __init__(self, group: Group, config: TrainConfig, order: WindowOrder, plan: Plan) -> None:
        self.group, self.config, self.order, self.plan = group, config, order, plan
        self.step, self.next_window = plan.first_step, plan.next_window
        self.heldout_windows = {
            language: windows[: config.eval_windows] for language, windows in order.heldout.items() if len(windows)
        }
        self.log = MetricsLog(plan.folder / "metrics.jsonl")
        self.checkpoint = plan.start.path if plan.start else None
        self.heldout: tuple[dict[str, float], float | None] | None = None  # of the last step
        self.speed: float | None = None  # tokens per second of this process' steps, evaluation and saving left out
        if group.main:
            sweep(plan.folder)
            (plan.folder / "result.json").unlink(missing_ok=True)
            self.log.cut(self.step)

        with torch.device("meta"):
            self.model = Llama(config.model, order.vocab_size)
        self.summed_loss = summed_loss
        if config.compile and group.device.type == "cuda":
            compile_blocks(self.model)
            self.summed_loss = torch.compile(summed_loss)
        if group.world > 1:
            shard(self.model, group)
        self.model.to_empty(device=group.device)
        self.optimizer = make_optimizer(self.model, config)
        self.num_parameters = sum(p.numel() for p in self.model.parameters())
        _say(group, f"{plan.folder}: {self.num_parameters:,} parameters, {group.world} x {group.device.type}")
        if plan.start is None:
            init_weights(self.model, config.seed)
            return
        load_checkpoint(plan.start, self.model, self.optimizer)
        _say(group, f"going on from step {self.step} of {plan.last_step} ({plan.start.path})")
        for line in changed_settings(plan.start.manifest.config, config):
            _say(group, f"setting changed since the checkpoint: {line}")

    def run(self, stop: threading.Event) -> bool:
        """Train to the last step. Returns False where a signal ended it earlier; a checkpoint is saved either way."""
        last_step, stopped = self.plan.last_step, False
        flops = flops_per_token(self.config, self.order.vocab_size) / self.group.world  # one GPU's part
        peak = peak_flops(torch.cuda.get_device_name()) if self.group.device.type == "cuda" else None
        step_tokens = self.config.global_batch_sequences * self.config.sequence_length
        seconds = 0.0
        with _quiet_gc():
            while self.step < last_step and not stopped:
                began = time.perf_counter()
                self.heldout = None  # measured anew where it is reported
                loss, grad_norm, rate, stopped = self._train_step(stop)
                took = time.perf_counter() - began
                seconds += took
                row: dict[str, Any] = {
                    "step": self.step,
                    "tokens": self.next_window * self.config.sequence_length,
                    "loss": loss,
                    "lr": rate,
                    "grad_norm": grad_norm,
                    "tokens_per_second": step_tokens / took,
                }
                if peak is not None:
                    row["mfu"] = flops * row["tokens_per_second"] / peak
                if not stopped and (self.step % self.config.eval_every == 0 or self.step == last_step):
                    row["heldout_loss"], row["heldout_loss_overall"] = self.heldout = self.evaluate()
                self._write(row)
                if stopped or self.step % self.config.checkpoint_every == 0 or self.step == last_step:
                    self._save()
                if self.step % GC_EVERY == 0:
                    gc.collect()
        done = self.step - self.plan.first_step
        self.speed = done * step_tokens / seconds if done else None
        return self.step >= last_step

    def _train_step(self, stop: threading.Event) -> tuple[float, float, float, bool]:
        """One optimizer step. Returns loss, gradient norm, learning rate, and whether any process was told to stop."""
        config = self.config
        index, real = share(config.global_batch_sequences, self.group)
        windows = self.order.read(self.next_window + index)
        num_targets = config.global_batch_sequences * config.sequence_length
        loss = torch.zeros((), device=self.group.device)
        for start in range(0, len(windows), config.micro_batch_sequences):
            end = start + config.micro_batch_sequences
            if isinstance(self.model, FSDPModule):
                self.model.set_requires_gradient_sync(end >= len(windows))
            part = self._summed_loss(windows[start:end], real[start:end]) / num_targets
            torch.autograd.backward(part)
            loss += part.detach()
        gradients = [local_gradient(p) for p in self.model.parameters()]
        # fp64, as fp32 norms on the CPU are off by up to 3e-4 and then depend on how the matrices are cut
        squares = [torch.linalg.vector_norm(g, dtype=torch.float64).square() for g in gradients]
        asked = torch.tensor(stop.is_set() or self.group.orphaned(), device=self.group.device)
        total_loss, square, num_asked = self.group.sum(torch.stack((loss.double(), sum(squares), asked.double())))
        grad_norm = math.sqrt(square)
        if not (math.isfinite(total_loss) and math.isfinite(grad_norm)):
            raise UserError(
                f"{self.plan.folder}: step {self.step + 1}: loss {total_loss}, gradient norm {grad_norm}; the weights "
                f"are as of the last checkpoint ({self.checkpoint}). Lower learning_rate and start anew with --run NAME"
            )
        if grad_norm > config.grad_clip:
            for gradient in gradients:
                gradient.mul_(config.grad_clip / grad_norm)
        self.step += 1
        self.next_window += config.global_batch_sequences
        rate = learning_rate(self.step, self.plan.last_step, config)
        for settings in self.optimizer.param_groups:
            settings["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total_loss, grad_norm, rate, num_asked > 0

    def _summed_loss(self, windows: npt.NDArray[np.int64], real: npt.NDArray[np.bool_]) -> torch.Tensor:
        """The loss in nats of windows (n, T + 1), summed over the targets of the real ones (n,), as a scalar."""
        tokens = torch.from_numpy(windows).to(self.group.device)
        padding = torch.from_numpy(~real).to(self.group.device)
        with self.group.precision():
            logits = self.model(tokens[:, :-1])
            return self.summed_loss(logits, tokens[:, 1:].masked_fill(padding[:, None], IGNORED))

    @torch.no_grad()
    def evaluate(self) -> tuple[dict[str, float], float | None]:
        """Nats a token on the first `eval_windows` held-out windows of each language, and over all of these."""
        if not self.heldout_windows:
            return {}, None
        sums = []
        for held in self.heldout_windows.values():
            index, real = share(len(held), self.group)
            windows, size = held[index], self.config.micro_batch_sequences
            cuts = [slice(start, start + size) for start in range(0, len(windows), size)]
            sums.append(torch.stack([self._summed_loss(windows[cut], real[cut]) for cut in cuts]).sum())
        if isinstance(self.model, FSDPModule):
            self.model.reshard()  # without a backward pass the embedding and the head would stay whole, and be saved so
        targets = [len(held) * self.config.sequence_length for held in self.heldout_windows.values()]
        totals = self.group.sum(torch.stack(sums))
        losses = [total / count for total, count in zip(totals, targets, strict=True)]
        return dict(zip(self.heldout_windows, losses, strict=True)), sum(totals) / sum(targets)

    def _write(self, row: dict[str, Any]) -> None:
        if not self.group.main:
            return
        self.log.write(row)
        if self.step % self.config.log_every and "heldout_loss" not in row:
            return
        parts = [
            f"step {self.step}/{self.plan.last_step}",
            f"loss {row['loss']:.4f}",
            f"lr {row['lr']:.2e}",
            f"grad norm {row['grad_norm']:.2f}",
            f"{row['tokens_per_second']:,.0f} tokens/s",
        ]
        if "mfu" in row:
            parts.append(f"mfu {row['mfu']:.1%}")
        parts += [f"held-out {language} {loss:.4f}" for language, loss in row.get("heldout_loss", {}).items()]
        _say(self.group, "  ".join(parts))

    def _save(self) -> None:
        manifest = Manifest(
            step=self.step,
            next_window=self.next_window,
            order_fingerprint=self.order.fingerprint,
            tokenizer_sha256=self.order.tokenizer_sha256,
            vocab_size=self.order.vocab_size,
            num_parameters=self.num_parameters,
            config=self.config,
            torch=torch.__version__,
        )
        self.checkpoint = save_checkpoint(self.group, self.plan.folder, manifest, self.model, self.optimizer)

    def report(self, run: str, finished: bool) -> dict[str, Any]:
        """The result of `train`, on every process; a finished run's is kept in result.json."""
        heldout, overall = (self.heldout or self.evaluate()) if finished else ({}, None)

        def build() -> dict[str, Any]:
            losses = [row["loss"] for row in self.log.rows()][-LOSS_STEPS:]
            result = {
                "run": run,
                "finished": finished,
                "steps": self.step,
                "tokens": self.next_window * self.config.sequence_length,
                "final_train_loss": sum(losses) / len(losses) if losses else None,
                "heldout_loss": heldout,
                "heldout_loss_overall": overall,
                "uniform_loss": math.log(self.order.vocab_size),
                "num_parameters": self.num_parameters,
                "tokens_per_second": self.speed,
                "checkpoint": str(self.checkpoint),
            }
            if finished:
                write_json(self.plan.folder / "result.json", result)
            else:
                _say(self.group, f"stopped at step {self.step} of {self.plan.last_step}; the same command goes on")
            return result

        return self.group.from_main(build)


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM sets; the loop saves and leaves after the step it is in."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield stop
        return
    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet_gc() -> Iterator[None]:
    """No collection but those we ask for: a pause of one process is a pause of all."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _say(group: Group, line: str) -> None:
    if group.main:
        print(line, file=sys.stderr, flush=True)
