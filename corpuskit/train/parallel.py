"""The processes of a run: who I am, what we share, how the model is cut among us, and how we part.

One process works plainly, without a process group. Under torchrun (RANK, WORLD_SIZE, LOCAL_RANK in the environment)
the model is sharded with FSDP2: nccl and bf16 on CUDA, gloo and fp32 on the CPU. Every process sees batches of the
same size, because `share` pads the share of those that have a window less.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from corpuskit.config import UserError
from corpuskit.train.model import Llama

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """This process among the others."""

    rank: int
    world: int
    device: torch.device
    launcher: int | None  # process id of the torchrun that started this process

    @property
    def main(self) -> bool:
        """Whether this is the process that logs and writes."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> list[float]:
        """The values (n,) summed over all processes, in fp64."""
        total = values.to(self.device, torch.float64)
        if self.world > 1:
            dist.all_reduce(total)
        return [float(v) for v in total.tolist()]

    def from_main(self, function: Callable[[], T]) -> T:
        """Call `function` on rank 0 and hand its result, or its UserError, to every process."""
        if self.world == 1:
            return function()
        shared: list[object] = [None, None]
        if self.main:
            try:
                shared[0] = function()
            except UserError as error:
                shared[1] = str(error)
        dist.broadcast_object_list(shared, device=self.device)
        if shared[1] is not None:
            raise UserError(str(shared[1]))
        return shared[0]  # type: ignore[return-value]

    def orphaned(self) -> bool:
        """Whether torchrun was killed: its processes have sessions of their own and would train on unseen."""
        return self.launcher is not None and os.getppid() != self.launcher

    def precision(self) -> AbstractContextManager[object]:
        """bf16 matrix products where one GPU works alone; FSDP's policy does it for several, the CPU stays in fp32."""
        if self.device.type == "cuda" and self.world == 1:
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()


def open_group() -> Group:
    """Join the other processes of this run, if there are any.

    Raises:
        UserError: there are more processes on this machine than GPUs.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local_rank, local_world = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        if local_world > torch.cuda.device_count():
            raise UserError(
                f"--processes {local_world}: this machine has {torch.cuda.device_count()} GPUs; "
                "start as many processes, or hide the GPUs with CUDA_VISIBLE_DEVICES= to train on the CPU"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Group(rank, world, device, os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None)


def close_group(group: Group) -> None:
    """Leave together, after all work went well.

    gloo's threads can abort a process that leaves while another still talks ("terminate called without an active
    exception", 3 of 8 short runs). Freeing the sharded model, meeting at a barrier and a moment of patience end that.
    """
    if group.world > 1:
        gc.collect()
        dist.barrier()
        dist.destroy_process_group()
        time.sleep(0.3)


def compile_blocks(model: Llama) -> None:
    """Compile each block, before `shard`: all run the same code, so this takes no longer for more of them.

    What is compiled is `forward` and not the module, so names stay as they are and FSDP's hooks outside (as torchtitan
    compiles; here 1.3 to 1.8 times the speed on an H200).
    """
    for block in model.model.layers:
        setattr(block, "forward", torch.compile(block.forward, fullgraph=True))  # noqa: B010 (mypy: a method)


def shard(model: Llama, group: Group) -> None:
    """Cut the parameters of a model (on the meta device) among the processes: one unit a block, and the rest."""
    mesh = init_device_mesh(group.device.type, (group.world,))
    policy = MixedPrecisionPolicy(cast_forward_inputs=False)  # the rotary tables stay fp32
    if group.device.type == "cuda":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in model.model.layers:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # Gradients are summed, not averaged: the loss is divided by the global number of targets already. Without
            # the second call a factor of 1 becomes ReduceOp.PREMUL_SUM, which gloo does not have.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def local_gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    """This process' part of a parameter's gradient, as a plain tensor that shares its memory."""
    gradient = parameter.grad
    assert gradient is not None  # every parameter takes part in every step
    return gradient.to_local() if isinstance(gradient, DTensor) else gradient


def share(count: int, group: Group) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Which of the items 0 .. count-1 are this process': every world-th one, from its rank on.

    Returns:
        Indices (n,) and whether each is real (n,), with n = ceil(count / world) on every process. Where an item is
        missing the last one stands in and is marked as not real, so that collective calls stay in step.
    """
    index = group.rank + group.world * np.arange(-(-count // group.world), dtype=np.int64)
    return np.minimum(index, count - 1), index < count
