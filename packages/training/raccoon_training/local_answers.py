"""What MobileNetV2 says of every place of every photo, so that each crop of it has an answer of its own.

photo (3,224,224) -> features (1280,7,7) -> logits at every place (1000,7,7) -> mean over a crop's box -> logits (1000)

The network sees each photo once, whatever is cropped from it later (Yun et al., CVPR 2021, arXiv 2101.05022). Its last
layers are a mean and a linear map, in either order the same: over the whole photo the answer is its own.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from .images import Photo, decode_photos, normalise
from .mobilenet import MobileNetV2

BATCH = 64
SAMPLES = 4  # a crop's answer is taken at 4 x 4 places within its box


@torch.no_grad()
def write_answers(
    path: Path, network: MobileNetV2, photos: Sequence[Photo], device: torch.device, *, bf16: bool
) -> None:
    """Writes logits (photos, K, h, w) float16 to a .npy file, whole or not at all: 98 kB a photo.

    A photo that cannot be decoded has zeros.
    """
    new, maps = path.with_suffix(".tmp"), None
    for start in tqdm(range(0, len(photos), BATCH), desc="MobileNetV2's answers", unit="batch"):
        pixels, readable = decode_photos(photos[start : start + BATCH], None)
        pixels[~readable] = 0
        x = normalise(pixels.to(device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            features = network.features(x)
            answers = network.classifier(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        if maps is None:
            shape = (len(photos), *answers.shape[1:])
            maps = np.lib.format.open_memmap(new, "w+", np.float16, shape)
        maps[start : start + BATCH] = (answers.float().cpu() * readable[:, None, None, None]).numpy()
    maps.flush()
    new.rename(path)


class LocalAnswers:
    """The file that `write_answers` wrote, read where a batch needs it."""

    def __init__(self, path: Path, photos: int, device: torch.device | str = "cpu"):
        self.device = device
        self.maps = np.load(path, mmap_mode="r")  # (photos, K, h, w)
        if len(self.maps) != photos:
            raise ValueError(f"{path} has answers to {len(self.maps)} photos, not {photos}; remove it")

    def __call__(self, photo: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        """Logits (B, K) for the crops `box` (B, 4) of the photos with the numbers photo (B); as `Crop` has them."""
        maps = torch.from_numpy(self.maps[photo.numpy()]).to(self.device).float()
        left, top, width, height = box.to(self.device).unbind(1)
        theta = torch.zeros(len(box), 2, 3, device=self.device)
        theta[:, 0, 0], theta[:, 0, 2] = width, 2 * left + width - 1
        theta[:, 1, 1], theta[:, 1, 2] = height, 2 * top + height - 1
        grid = F.affine_grid(theta, [len(box), 1, SAMPLES, SAMPLES], align_corners=False)
        return F.grid_sample(maps, grid, padding_mode="border", align_corners=False).mean((2, 3))
