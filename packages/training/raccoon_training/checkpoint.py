"""A training run's state in one file, `last.pt`: written as a whole or not at all."""

import io
import os
import pickle
from pathlib import Path

import torch

from .model import SplitConfig, SplitModel


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


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict:
    """What `write_checkpoint` wrote. Raises ValueError if the file is damaged or another version's."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{path} is damaged or no checkpoint; remove it to start from the beginning") from error
    try:
        SplitConfig.parse(state["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is of another architecture ({error}); use another folder for --run") from error
    return state


def load_average(path: Path) -> tuple[SplitModel, dict]:
    """The averaged model of a checkpoint, ready to use, and all that was saved with it."""
    state = read_checkpoint(path)
    model = SplitModel(SplitConfig.parse(state["config"]))
    model.load_state_dict(state["average"])
    return model.eval().requires_grad_(False), state
