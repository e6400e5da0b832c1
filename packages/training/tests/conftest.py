"""What the tests share: small models, random weights, photos made on the spot. Nothing is downloaded."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from raccoon_training.mobilenet import MobileNetV2
from raccoon_training.model import SplitConfig

REPOSITORY = Path(__file__).parents[3]
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.fixture
def config() -> SplitConfig:
    """Three depths and two rates, small enough to train in a test."""
    return SplitConfig(
        encoder_width=8, encoder_hidden=4, latent_channels=6, stops=(0, 1, 2),
        decoder_width=8, decoder_hidden=4, decoder_blocks=1, exit_hidden=4, classes=10, rate_targets=(0.2, 0.8),
    )  # fmt: skip


@pytest.fixture
def pictures(generator: torch.Generator) -> torch.Tensor:
    """(16, 3, 64, 64) in [-1, 1], mostly smooth, as photos are."""
    coarse = F.interpolate(torch.rand(16, 3, 8, 8, generator=generator), size=64, mode="bilinear")
    return ((coarse + 0.1 * torch.rand(16, 3, 64, 64, generator=generator)) * 2 - 1.1).clamp(-1, 1)


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MobileNetV2 that has learned nothing, stored as the shared weights are."""
    torch.manual_seed(2)
    network = MobileNetV2()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    path = tmp_path_factory.mktemp("weights") / "mobilenet.safetensors"
    save_file({name: tensor.half() for name, tensor in network.state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageFolder with train (6 photos) and val (3), 40 x 30 px."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(3)
    for split, count in (("train", 3), ("val", 1)):
        for wnid in ("n01", "n02", "n03")[: 2 if split == "train" else 3]:
            (root / split / wnid).mkdir(parents=True)
            for i in range(count):
                small = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
                small.resize((40, 30), Image.Resampling.BICUBIC).save(root / split / wnid / f"{i}.jpg")
    return root


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data, beside the repository or where RACCOON_DATA says."""
    return Path(os.environ.get("RACCOON_DATA", REPOSITORY.parent / "shared"))


def count_macs(module: nn.Module, *shape: int) -> int:
    """Multiply-accumulates by running the module on one image without values, and counting at each convolution."""
    total = 0

    def count(conv: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        values = inputs[0] if isinstance(conv, nn.ConvTranspose2d) else output
        total += values[0].numel() * conv.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count)
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    ]
    module.to("meta")(torch.empty(1, *shape, device="meta"))
    for hook in hooks:
        hook.remove()
    return total
