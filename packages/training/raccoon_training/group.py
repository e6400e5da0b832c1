"""The processes of a training run: one, or as many as torchrun starts, on one machine or several.

Each has a share of the photos and of every global batch, and all take the same step: gradients are averaged over the
global batch (DDP), and what a step decides for the whole batch is gathered. One process writes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Group:
    """This process, its device, and how many there are."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, module: nn.Module, *, some_unused: bool = False) -> nn.Module:
        """The module, with its gradients averaged over the processes. some_unused: not every pass uses all weights."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=some_unused)

    def gather(self, rows: torch.Tensor, places: torch.Tensor, count: int) -> torch.Tensor:
        """All processes' rows: own rows (b, ...) with their places (b) among `count` -> (count, ...) on the device."""
        if self.size == 1:
            return rows.to(self.device)
        every = torch.zeros(count, *rows.shape[1:], dtype=rows.dtype, device=self.device)
        every[places.to(self.device)] = rows.to(self.device)
        dist.all_reduce(every)  # a sum in which all but one are zero
        return every


@contextmanager
def join(device: str) -> Iterator[Group]:
    """The group that torchrun's environment describes, nccl between GPUs and gloo between CPUs; else this process."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group(torch.device(device))
        return
    on = torch.device(device)
    if on.type == "cuda":
        on = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(on)
    dist.init_process_group("nccl" if on.type == "cuda" else "gloo")
    try:
        yield Group(on, dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
