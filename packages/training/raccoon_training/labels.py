"""Labels of photos, from the names of the folders that they lie in."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch


def class_indexes(classes: Path, wnids: Sequence[str]) -> torch.Tensor:
    """Labels (M) int64 of photos with these wnids: positions in the JSON list `classes` of {wnid, name}."""
    index = {entry["wnid"]: i for i, entry in enumerate(json.loads(classes.read_text()))}
    unknown = sorted(set(wnids) - set(index))
    if unknown:
        raise ValueError(f"{classes} has no {unknown[0]}: photos lie in folders named by wnid, as the list has them")
    return torch.tensor([index[wnid] for wnid in wnids])


def folder_indexes(wnids: Sequence[str], count: int) -> torch.Tensor:
    """Labels (M) int64 without a list, as torchvision's ImageFolder has them: positions among the sorted wnids.

    There must be `count` of them, the network's classes.
    """
    index = {wnid: i for i, wnid in enumerate(sorted(set(wnids)))}
    if len(index) != count:
        raise ValueError(
            f"the photos lie in {len(index)} folders and the network has {count} classes: --classes says which is which"
        )
    return torch.tensor([index[wnid] for wnid in wnids])
