"""Photos as tensors: tar shards or an ImageFolder in, uint8 batches out, augmented to network input.

    train-*.tar | ImageFolder  ->  uint8 (M, 3, 224, 224)  ->  float32 (B, 3, 224, 224) in [-1, 1]
"""

import io
import tarfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

SIZE = 224  # px, the network's input


def read_photo(data: bytes | Path, size: int = SIZE) -> np.ndarray:
    """Decodes one photo to uint8 (3, size, size) RGB with the bundle's preprocessing.

    A photo that already has the network's size is not resampled; others: short side to
    256/224 of it (Pillow's antialiased bilinear), centre crop.
    """
    image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data).convert("RGB")
    if image.size != (size, size):
        scale = round(size * 256 / 224) / min(image.size)
        image = image.resize(
            tuple(max(size, int(side * scale + 0.5)) for side in image.size), Image.Resampling.BILINEAR
        )
        left, top = ((side - size) // 2 for side in image.size)
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image).transpose(2, 0, 1)  # (3, H, W)


def photo_entries(source: Path, split: str) -> list[tuple[str, str, object]]:
    """Lists (wnid, name, reader) of `<source>/<split>-*.tar` shards or an ImageFolder `<source>`."""
    shards = sorted(source.glob(f"{split}-*.tar"))
    entries = []
    for shard in shards:
        tar = tarfile.open(shard)
        for member in tar.getmembers():
            if member.isfile():
                _, wnid, name = member.name.split("/")
                entries.append((wnid, name, lambda t=tar, m=member: t.extractfile(m).read()))
    if not shards:
        root = source / split if (source / split).is_dir() else source
        for path in sorted(root.glob("*/*")):
            if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}:
                entries.append((path.parent.name, path.name, lambda p=path: p))
    if not entries:
        raise FileNotFoundError(
            f"no photos in {source}: expected {split}-*.tar shards or <wnid>/<photo> folders"
        )
    return entries


def load_photos(source: Path, split: str, limit: int | None = None) -> tuple[torch.Tensor, list[str]]:
    """Decodes a split into memory: uint8 (M, 3, 224, 224) and the M wnids, in shard order."""
    entries = photo_entries(source, split)[:limit]
    pixels = torch.empty(len(entries), 3, SIZE, SIZE, dtype=torch.uint8)
    for i, (_, _, read) in enumerate(tqdm(entries, desc=f"decode {split}", unit="photo")):
        pixels[i] = torch.from_numpy(read_photo(read()).copy())
    return pixels, [wnid for wnid, _, _ in entries]


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (B, 3, H, W) -> float32 in [-1, 1], MobileNetV2's input."""
    return pixels.float() / 127.5 - 1


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random crop of 45 to 100 % of the area, flip, and a little contrast and brightness.

    uint8 (B, 3, H, W) -> float32 (B, 3, H, W) in [-1, 1]. Labels are not needed, so anything that
    widens the set of pictures helps; a third of the photos keeps its full frame.
    """
    device, count = pixels.device, len(pixels)

    def uniform(low: float, high: float) -> torch.Tensor:
        return (low + (high - low) * torch.rand(count, generator=generator)).to(device)

    area, aspect = uniform(0.45, 1.0), torch.exp(uniform(-0.25, 0.25))
    whole = uniform(0, 1) < 0.33
    width = torch.where(whole, 1.0, (area * aspect).sqrt().clamp(max=1.0))
    height = torch.where(whole, 1.0, (area / aspect).sqrt().clamp(max=1.0))
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 0, 2] = width * flip, (1 - width) * uniform(-1, 1)
    theta[:, 1, 1], theta[:, 1, 2] = height, (1 - height) * uniform(-1, 1)
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    x = F.grid_sample(normalise(pixels), grid, padding_mode="reflection", align_corners=False)
    contrast, brightness = uniform(0.8, 1.2), uniform(-0.15, 0.15)
    return (x * contrast[:, None, None, None] + brightness[:, None, None, None]).clamp(-1, 1)
