"""The photos of `train-paper`: fresh crops read when their batch comes, or all in memory and shown several times.

batches -> x (B, 3, size, size), labels (B), and what the unsplit network says of them where that is remembered
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader

from .batches import Batch, Batches
from .crops import Crops
from .group import Group
from .images import Photo, augment, count_skipped, decode_photos
from .loss import Prediction
from .paper_config import Backbone
from .teacher import Teacher
from .train import augmentation

CALIBRATION = 256  # photos that a model's start is taken from


class Shown(NamedTuple):
    """A process's share of a batch. target: None where nothing is remembered; skipped (B): photos left out."""

    x: torch.Tensor
    label: torch.Tensor
    target: Prediction | None
    skipped: torch.Tensor


class Photos(Protocol):
    """Which batches there are, and what they show."""

    batches: Batches

    def show(self, epoch: int, steps: range, size: int) -> Iterator[tuple[Batch, Shown]]:
        """The batches of these steps, all of one epoch, at size x size px."""


class FreshCrops:
    """As the paper: a crop of 8 to 100 % of the area in every epoch, decoded by `workers` processes."""

    def __init__(
        self, photos: Sequence[Photo], labels: torch.Tensor, backbone: Backbone, group: Group,
        *, seed: int, batch: int, workers: int,
    ):  # fmt: skip
        self.photos, self.labels, self.backbone, self.group = photos, labels, backbone, group
        self.seed, self.workers = seed, workers
        self.batches = Batches(torch.ones(len(photos), dtype=torch.bool), batch, seed, group)

    def show(self, epoch: int, steps: range, size: int) -> Iterator[tuple[Batch, Shown]]:
        device = self.group.device
        rest = [self.batches.at(step) for step in steps]
        loader = DataLoader(
            Crops(self.photos, self.labels, self.seed, epoch, size),
            batch_sampler=[batch.photos.tolist() for batch in rest],
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
        )
        for batch, crops in zip(rest, loader, strict=True):
            x = self.backbone.tensor(crops.pixels.to(device, non_blocking=True))
            yield batch, Shown(x, crops.label.to(device, non_blocking=True), None, crops.skipped.to(device))


class HeldPhotos:
    """Decoded once and held; the same augmented photos for `reuse` epochs, and the unsplit network sees each once."""

    def __init__(
        self, photos: Sequence[Photo], labels: torch.Tensor, backbone: Backbone, group: Group, teacher: Teacher,
        *, seed: int, batch: int, reuse: int,
    ):  # fmt: skip
        self.labels, self.backbone, self.group, self.teacher = labels, backbone, group, teacher
        self.seed, self.reuse = seed, reuse
        own = torch.arange(group.rank, len(photos), group.size)  # photo i is in row i // W of its process
        title = "decode train" if group.leads else None
        self.pixels, readable = decode_photos([photos[i] for i in own], title, backbone.size)
        readable = group.gather(readable.byte(), own, len(photos)).bool().cpu()
        if group.leads:
            count_skipped(readable, photos[0].file.parent)
        self.batches = Batches(readable, batch, seed, group)
        self.readable, self.shown, self.draws = readable, None, torch.empty(0)

    def first(self) -> torch.Tensor:
        """The first photos, as they are: tensor (256, 3, H, W), the same in every process."""
        first = self.readable.nonzero()[:CALIBRATION, 0]
        places = (first % self.group.size == self.group.rank).nonzero()[:, 0]
        pixels = self.group.gather(self.pixels[first[places] // self.group.size], places, len(first))
        return self.backbone.tensor(pixels)

    def show(self, epoch: int, steps: range, size: int) -> Iterator[tuple[Batch, Shown]]:
        device, variant = self.group.device, (2, epoch // self.reuse)
        if self.shown != (variant, size):
            self.shown, self.draws = (variant, size), augmentation(len(self.readable), self.seed, variant)
            self.teacher.forget(len(self.pixels))
        for step in steps:
            batch = self.batches.at(step)
            row = batch.photos // self.group.size
            pixels = augment(self.pixels[row].to(device), self.draws[batch.photos], size)
            x, label = self.backbone.tensor_of(pixels), self.labels[batch.photos].to(device)
            yield batch, Shown(x, label, self.teacher(x, row, True), torch.zeros(len(row), device=device))
