"""Which of how many processes this is, and sums over all of them; the identity in a single one."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist


class World(NamedTuple):
    """This process among its peers."""

    rank: int
    size: int
    local_rank: int

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


def join(device: str) -> World:
    """Join the process group that `torchrun` announces, or stand alone.

    Args:
        device: `cuda` picks NCCL and the GPU of the local rank; anything else Gloo.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(0, 1, 0)
    world = World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    if device == "cuda":
        torch.cuda.set_device(world.local_rank)
    if not dist.is_initialized():
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(minutes=30))
    return world


def leave() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def mean(values: torch.Tensor) -> torch.Tensor:
    """Return the mean over all processes of a tensor of any shape."""
    if dist.is_initialized():
        values = values.clone()
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return values


def anyone(flag: bool, device: torch.device) -> bool:
    """Return whether `flag` is set in any process, the same answer in all of them."""
    if not dist.is_initialized():
        return flag
    told = torch.tensor(int(flag), device=device)
    dist.all_reduce(told, op=dist.ReduceOp.MAX)
    return bool(told.item())


def gather(items: list[object]) -> list[object]:
    """Return the items of all processes in rank order, the same list in each of them."""
    if not dist.is_initialized():
        return items
    parts: list[list[object]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]


class _GatherRows(torch.autograd.Function):
    """All processes' rows in rank order; their gradient is the sum over all processes."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        mine = torch.tensor([len(rows)], device=rows.device)
        counts = [torch.zeros_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(counts, mine)  # they differ where an unreadable item was left out
        sizes = [int(count) for count in counts]
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        ctx.first, ctx.count = sum(sizes[: dist.get_rank()]), len(rows)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.first : ctx.first + ctx.count]


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows (B, ...) of all processes in rank order; gradients find their way back.

    Where every process takes the same loss of all rows, the mean of gradients that
    DistributedDataParallel forms is that of a single process with all rows.
    """
    return _GatherRows.apply(rows) if dist.is_initialized() else rows


def mean_share(total: torch.Tensor, count: torch.Tensor, *, training: bool) -> torch.Tensor:
    """Return `total` / `count`, such that the mean over processes is the mean over all they count.

    In training, processes whose shares hold fewer words must not make them weigh more; in
    validation each process stands alone. Where nothing is counted, 0.
    """
    if training and dist.is_initialized():
        everywhere = count.clone().float()
        dist.all_reduce(everywhere)
        count = everywhere / dist.get_world_size()
        return total / count.clamp(min=1 / dist.get_world_size())
    return total / count.clamp(min=1)


def wait() -> None:
    """Wait until every process has come this far."""
    if dist.is_initialized():
        dist.barrier()
