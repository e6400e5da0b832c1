"""Where a bundle's weights come from: the machine and the command line of a training run."""

import argparse
import os
import platform
from pathlib import Path

import torch

from .group import Group

ELSEWHERE = ("bf16", "threads", "workers", "device", "command", "run_command")  # said by the machine, or no matter


def machine(group: Group) -> str:
    """What trained."""
    if group.device.type == "cuda":
        name = torch.cuda.get_device_name(group.device)
        return name if group.size == 1 else f"{group.size} x {name}"
    cores = f"{os.cpu_count()} {platform.machine()} processor cores"
    return cores if group.size == 1 else f"{group.size} processes on {cores} each machine"


def command(name: str, args: argparse.Namespace) -> str:
    """The options of the run; of paths only the last part."""
    parts = [name]
    for key, value in vars(args).items():
        option = f"--{key.replace('_', '-')}"
        if key in ELSEWHERE or value is None or value is False:
            continue
        if value is True:
            parts.append(option)
        elif isinstance(value, Path):
            parts.append(f"{option} {value.name}")
        elif isinstance(value, list | tuple):
            parts.append(f"{option} {' '.join(map(str, value))}")
        else:
            parts.append(f"{option} {value}" if isinstance(value, str) else f"{option} {value:g}")
    return " ".join(parts if args.bf16 else [*parts, "--no-bf16"])
