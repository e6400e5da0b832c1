"""Photos as the paper's training sees them, read when their batch comes: ImageNet does not fit into memory.

bytes -> random crop, resized (size x size px), flipped or not -> uint8 (3, size, size)
"""

import io
import sys
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from tqdm import tqdm

from .images import UNREADABLE, Photo

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # torchvision's RandomResizedCrop: share of the area, width / height
TRIES = 10


def random_crop(data: bytes, size: int, random: np.random.Generator) -> np.ndarray:
    """Decodes one photo: a random part of it, antialiased bilinear to size x size px, every second one mirrored."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    for _ in range(TRIES):
        area = width * height * random.uniform(*AREA)
        aspect = np.exp(random.uniform(*np.log(ASPECT)))
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
            break
    else:  # a photo that is too long for that: its middle
        w, h = min(width, round(height * ASPECT[1])), min(height, round(width / ASPECT[0]))
        left, top = (width - w) // 2, (height - h) // 2
    crop = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    pixels = np.asarray(crop).transpose(2, 0, 1)
    return pixels[:, :, ::-1] if random.random() < 0.5 else pixels


class Crops(Dataset):
    """An epoch's crops: number of a photo -> uint8 (3, size, size), its label, how many photos were skipped for it.

    The crop comes from seed, epoch and number alone. A photo that cannot be decoded is named, and the next takes its
    place.
    """

    def __init__(self, photos: Sequence[Photo], labels: torch.Tensor, seed: int, epoch: int, size: int):
        self.photos, self.labels, self.seed, self.epoch, self.size = photos, labels, seed, epoch, size

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        random = np.random.default_rng([self.seed, 4, self.epoch, number])
        for skipped in range(len(self.photos)):
            i = (number + skipped) % len(self.photos)
            try:
                pixels = random_crop(self.photos[i].read(), self.size, random)
            except UNREADABLE as error:
                tqdm.write(f"skipped {self.photos[i]}: {error}", file=sys.stderr)
            else:
                return torch.from_numpy(pixels.copy()), self.labels[i], skipped
        raise ValueError(f"none of the {len(self.photos)} photos can be decoded")
