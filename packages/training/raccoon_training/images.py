"""Photos as tensors: tar shards or an ImageFolder in, uint8 batches out, augmented to network input.

    <split>-*.tar | <split>/ | ImageFolder -> uint8 (M, 3, 224, 224) -> float32 (B, 3, 224, 224) in [-1, 1]

Shard entries are <split>/<wnid>/<photo>; an ImageFolder has <wnid>/<photo>. Without labels, one folder will do.
"""

import io
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

SIZE = 224  # px, the network's input
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# what Pillow raises on bytes that are no photo
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def read_photo(data: bytes, size: int = SIZE) -> np.ndarray:
    """Decodes one photo to uint8 (3, size, size) RGB with the bundle's preprocessing.

    A photo that already has the network's size is not resampled; others: short side to
    256/224 of it (Pillow's antialiased bilinear), centre crop.
    """
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if image.size != (size, size):
        scale = short_side(size) / min(image.size)
        image = image.resize(
            tuple(max(size, int(side * scale + 0.5)) for side in image.size), Image.Resampling.BILINEAR
        )
        left, top = ((side - size) // 2 for side in image.size)
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image).transpose(2, 0, 1)  # (3, H, W)


def short_side(size: int) -> int:
    """What a photo is resized to before a crop of size x size px."""
    return round(size * 256 / 224)


class Photo(NamedTuple):
    """Where a photo's bytes lie: a file of its own, or `size` bytes at `offset` of a shard."""

    wnid: str
    file: Path
    entry: str = ""  # its name within the shard
    offset: int = 0
    size: int = -1

    def __str__(self) -> str:
        return f"{self.file}: {self.entry}" if self.entry else str(self.file)

    def read(self) -> bytes:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def has_split(source: Path, split: str) -> bool:
    """Whether `source` has a split of its own under this name."""
    return any(source.glob(f"{split}-*.tar")) or (source / split).is_dir()


def list_photos(source: Path, split: str) -> list[Photo]:
    """The photos of `<source>/<split>-*.tar`, else of the ImageFolder `<source>/<split>`, else of `<source>`.

    A folder without folders of photos is taken as one of photos.
    """
    photos = [photo for shard in sorted(source.glob(f"{split}-*.tar")) for photo in _list_shard(shard)]
    if not photos:
        folder = source / split if (source / split).is_dir() else source
        found = (sorted(p for p in folder.glob(form) if p.suffix.lower() in SUFFIXES) for form in ("*/*", "*"))
        files = next(filter(None, found), [])
        photos = [Photo(file.parent.name, file) for file in files]
    if not photos:
        fault = "no photos in" if source.is_dir() else "there is no folder"
        raise FileNotFoundError(
            f"{fault} {source}: --data is a folder with {split}-*.tar shards (entries {split}/<wnid>/<photo>) or with "
            f"{split}/<wnid>/<photo>"
        )
    return photos


def _list_shard(shard: Path) -> list[Photo]:
    """The photos of a shard. Raises ValueError if it is cut short: the rest of its photos would be missed unseen."""
    photos, end = [], 0
    try:
        with tarfile.open(shard, "r:") as tar:
            for entry in tar:
                end = entry.offset_data + -(-entry.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if entry.isfile():
                    photos.append(Photo(Path(entry.name).parent.name, shard, entry.name, entry.offset_data, entry.size))
        whole = shard.stat().st_size >= end + 2 * tarfile.BLOCKSIZE  # two empty blocks end an archive
    except tarfile.ReadError:
        whole = False
    if not whole:
        raise ValueError(f"{shard} is cut short after {len(photos)} photos; fetch it again")
    return photos


def load_photos(source: Path, split: str, limit: int | None = None, size: int = SIZE) -> tuple[torch.Tensor, list[str]]:
    """Decodes a split, or its first `limit` photos, into memory: uint8 (M, 3, size, size) and the M wnids.

    Photos that cannot be decoded are named, skipped and counted.
    """
    photos = list_photos(source, split)[:limit]
    pixels, readable = decode_photos(photos, f"decode {split}", size)
    count_skipped(readable, source)
    if not readable.all():
        pixels = pixels[readable]
    return pixels, [photo.wnid for photo, good in zip(photos, readable.tolist(), strict=True) if good]


def decode_photos(photos: Sequence[Photo], title: str | None, size: int = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (M, 3, size, size) of M photos, and which of them could be decoded (M); names the others.

    title: of the progress bar; None shows none.
    """
    pixels = torch.empty(len(photos), 3, size, size, dtype=torch.uint8)
    readable = torch.ones(len(photos), dtype=torch.bool)
    for i, photo in enumerate(tqdm(photos, desc=title, unit="photo", disable=title is None)):
        try:
            pixels[i] = torch.from_numpy(read_photo(photo.read(), size).copy())
        except UNREADABLE as error:
            tqdm.write(f"skipped {photo}: {error}", file=sys.stderr)
            readable[i] = False
    return pixels, readable


def count_skipped(readable: torch.Tensor, source: Path) -> None:
    """Says how many of the photos (M) were skipped. Raises ValueError if all were."""
    if not readable.any():
        raise ValueError(f"none of the {len(readable)} photos of {source} can be decoded")
    if not readable.all():
        print(f"{int((~readable).sum())} of {len(readable)} photos skipped", file=sys.stderr)


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (B, 3, H, W) -> float32 in [-1, 1], the input of encoders and of the networks that are split."""
    return pixels.float() / 127.5 - 1


AUGMENT_DRAWS = 8  # random numbers that `augment` takes for one photo


def augment(pixels: torch.Tensor, draws: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    """Random crop of 45 to 100 % of the area, flip, and a little contrast and brightness.

    uint8 (B, 3, H, W), draws from [0, 1) (B, 8) -> float32 (B, 3, size, size) in [-1, 1]. Labels are not
    needed, so anything that widens the set of pictures helps; a third of the photos keeps its full frame.
    """
    device = pixels.device
    draw = iter(draws.to(device).unbind(1))

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * next(draw)

    area, aspect = uniform(0.45, 1.0), torch.exp(uniform(-0.25, 0.25))
    whole = uniform(0, 1) < 0.33
    width = torch.where(whole, 1.0, (area * aspect).sqrt().clamp(max=1.0))
    height = torch.where(whole, 1.0, (area / aspect).sqrt().clamp(max=1.0))
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    across, down = (1 - width) * uniform(-1, 1), (1 - height) * uniform(-1, 1)
    contrast, brightness = uniform(0.8, 1.2), uniform(-0.15, 0.15)
    theta = torch.zeros(len(pixels), 2, 3, device=device)
    theta[:, 0, 0], theta[:, 0, 2] = width * flip, across
    theta[:, 1, 1], theta[:, 1, 2] = height, down
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    x = F.grid_sample(normalise(pixels), grid, padding_mode="reflection", align_corners=False)
    if size != x.shape[2]:
        x = F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return (x * contrast[:, None, None, None] + brightness[:, None, None, None]).clamp(-1, 1)
