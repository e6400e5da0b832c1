"""A training run's state in one file, `last.pt`: written as a whole or not at all."""

import io
import os
import pickle
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from .model import SplitConfig, SplitModel
from .networks import SplitNetwork


class Config(Protocol):
    """The architecture of a run, as a checkpoint keeps it."""

    def json(self) -> dict[str, Any]: ...

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """What `json` wrote. Raises ValueError for one of another architecture."""


def write_checkpoint(path: Path, state: dict) -> None:
    """Replaces `path`. When that fails (a full disk) or the process is killed, the last good one is still there."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    new = path.with_suffix(".tmp")
    try:
        with new.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        kept = "the one before is intact" if path.exists() else "there is none before it"
        raise OSError(f"cannot write the checkpoint {path}: {error.strerror}; {kept}. Make room and resume") from error


def read_checkpoint(path: Path, kind: type[Config], device: torch.device | str = "cpu") -> dict:
    """What `write_checkpoint` wrote. Raises ValueError if it is damaged or another kind of run's."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{path} is damaged or no checkpoint; remove it to start from the beginning") from error
    try:
        kind.parse(state["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is of another architecture ({error}); use another folder for --run") from error
    return state


def check_config(path: Path, saved: dict[str, Any], config: Config) -> None:
    """Raises ValueError, naming what differs, where a checkpoint's config is not this one."""
    own = type(config).parse(saved).json()
    differs = [f"{name} {own[name]}, not {value}" for name, value in config.json().items() if own[name] != value]
    if differs:
        raise ValueError(f"{path} is of another architecture ({'; '.join(differs)}); use another folder for --run")


def check_network(run: Path, config: SplitConfig, weights: Path, network: SplitNetwork) -> None:
    """Raises ValueError where the weights are not of the network that a run splits."""
    if (network.name, network.classes) != (config.network, config.classes):
        raise ValueError(
            f"{run} splits a {config.network} with {config.classes} classes; {weights} is a {network.name} "
            f"with {network.classes}"
        )


def load_average(path: Path) -> tuple[SplitModel, dict]:
    """The averaged model of a checkpoint, ready to use, and all that was saved with it."""
    state = read_checkpoint(path, SplitConfig)
    model = SplitModel(SplitConfig.parse(state["config"]))
    model.load_state_dict(state["average"])
    return model.eval().requires_grad_(False), state
