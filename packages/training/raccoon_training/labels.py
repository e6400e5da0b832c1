"""Labels of photos, from the names of the folders that they lie in."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch


def read_classes(path: Path, count: int | None = None) -> list[dict[str, str]]:
    """The classes of a JSON file in the order of the logits, {wnid, name} each; there must be `count` of them.

    The file has a list of {wnid, name}, or an object {wnid: name}, which stands for the sorted wnids.
    """
    try:
        content = json.loads(path.read_text())
        if isinstance(content, dict):
            content = [{"wnid": wnid, "name": name} for wnid, name in sorted(content.items())]
        classes = [{"wnid": entry["wnid"], "name": entry["name"]} for entry in content]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no JSON list of {{wnid, name}}: {error}") from error
    if count is not None and len(classes) != count:
        raise ValueError(f"{path} has {len(classes)} classes, the network {count}")
    return classes


def class_indexes(classes: Path, wnids: Sequence[str], count: int | None = None) -> torch.Tensor:
    """Labels (M) int64 of photos with these wnids: positions among the classes of a file for `read_classes`."""
    index = {entry["wnid"]: i for i, entry in enumerate(read_classes(classes, count))}
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
