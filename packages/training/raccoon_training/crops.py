"""Photos as the training of whole networks sees them, read when their batch comes: ImageNet does not fit into memory.

bytes -> random crop, resized (size x size px), flipped or not -> uint8 (3, size, size)
"""

import io
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from tqdm import tqdm

from .images import UNREADABLE, Photo

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # torchvision's RandomResizedCrop: share of the area, width / height
TRIES = 10


class Crop(NamedTuple):
    """A crop (3, size, size) uint8 of a photo, and where: left, top, width, height (4) as shares of its sides."""

    pixels: torch.Tensor
    box: torch.Tensor
    label: torch.Tensor
    photo: int  # its number
    skipped: int  # how many photos could not be decoded before this one


def random_crop(
    data: bytes, size: int, random: np.random.Generator, area: tuple[float, float] = AREA
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes one photo: a random part of it, antialiased bilinear to size x size px, every second one mirrored.

    Returns uint8 (3, size, size), and left, top, width, height (4) as shares of the photo's sides.
    """
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    for _ in range(TRIES):
        pixels = width * height * random.uniform(*area)
        aspect = np.exp(random.uniform(*np.log(ASPECT)))
        w, h = round((pixels * aspect) ** 0.5), round((pixels / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
            break
    else:  # a photo that is too long for that: its middle
        w, h = min(width, round(height * ASPECT[1])), min(height, round(width / ASPECT[0]))
        left, top = (width - w) // 2, (height - h) // 2
    crop = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    crop = np.asarray(crop).transpose(2, 0, 1)
    box = np.array([left / width, top / height, w / width, h / height], np.float32)
    return crop[:, :, ::-1] if random.random() < 0.5 else crop, box


class Crops(Dataset):
    """An epoch's crops by number, of a share `area` of each photo.

    A crop comes from seed, epoch and number alone. A photo that cannot be decoded is named, and the next takes its
    place.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        labels: torch.Tensor,
        seed: int,
        epoch: int,
        size: int,
        *,
        area: tuple[float, float] = AREA,
    ):
        self.photos, self.labels, self.seed, self.epoch, self.size, self.area = photos, labels, seed, epoch, size, area

    def __getitem__(self, number: int) -> Crop:
        random = np.random.default_rng([self.seed, 4, self.epoch, number])
        for skipped in range(len(self.photos)):
            i = (number + skipped) % len(self.photos)
            try:
                pixels, box = random_crop(self.photos[i].read(), self.size, random, self.area)
            except UNREADABLE as error:
                tqdm.write(f"skipped {self.photos[i]}: {error}", file=sys.stderr)
            else:
                return Crop(torch.from_numpy(pixels.copy()), torch.from_numpy(box), self.labels[i], i, skipped)
        raise ValueError(f"none of the {len(self.photos)} photos can be decoded")
