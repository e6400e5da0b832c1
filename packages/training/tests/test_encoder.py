import pytest
import torch
from conftest import count_macs

from raccoon_training.blocks import BottleneckBlock, ResidualBlock
from raccoon_training.encoder import Encoder
from raccoon_training.exit_head import ExitHead
from raccoon_training.export import EncoderGraph
from raccoon_training.mobilenet import MobileNetV2
from raccoon_training.model import SplitConfig, SplitModel


@pytest.mark.parametrize(
    ("n", "macs", "parameters"),
    [(0, 25_690_112, 32_960), (4, 488_112_128, 623_552), (8, 950_534_144, 1_214_144)],
)
def test_cost_of_the_papers_encoder(n, macs, parameters):
    """arXiv 2211.09897, Table I: 0.489 B at N=4. 784 * (32,768 + 147,456 N)."""
    encoder = Encoder(128, 64, 64, stops=(n,))
    assert sum(p.numel() for p in encoder.parameters()) == parameters
    assert encoder.macs(224, 224, n) == macs == 784 * (32_768 + 147_456 * n)
    exit_head = ExitHead(128, 8, 10)
    assert count_macs(EncoderGraph(encoder, exit_head, n), 3, 224, 224) == macs + exit_head.macs(28, 28)


def test_cost_of_the_universal_encoder():
    """At most half of the unsplit network's 0.301 GMAC, with the local exit."""
    config = SplitConfig()
    model = SplitModel(config)
    deepest = config.stops[-1]
    graph = EncoderGraph(model.encoder, model.exits[str(deepest)], deepest)
    cost = model.encoder.macs(224, 224, deepest) + model.exits[str(deepest)].macs(28, 28)
    assert count_macs(graph, 3, 224, 224) == cost < 150e6
    assert 2 * cost < count_macs(MobileNetV2(), 3, 224, 224)


@pytest.mark.parametrize("block", [ResidualBlock, BottleneckBlock])
@pytest.mark.parametrize("depths", [[0, 3, 1, 1, 3, 0, 0, 3, 1], [0] * 4, [3] * 4, [1, 3]])
def test_depths_in_one_batch(pictures, block, depths):
    encoder = Encoder(8, 4, 6, (0, 1, 3), block)
    seen = {}
    for n, images, trunk in encoder.trunks(pictures[: len(depths)], torch.tensor(depths)):
        for i, own in zip(images.tolist(), trunk, strict=True):
            seen[i] = n
            torch.testing.assert_close(own, encoder.trunk(pictures[i : i + 1], n)[0])
    assert [seen[i] for i in range(len(depths))] == depths


def test_every_depth_learns(pictures):
    encoder = Encoder(8, 4, 6, (0, 1, 3), BottleneckBlock)
    trunks = encoder.trunks(pictures[:3], torch.tensor([0, 1, 3]))
    sum(encoder.project[str(n)](trunk).square().sum() for n, _, trunk in trunks).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_without_blocks_it_is_not_linear(pictures):
    encoder = Encoder(8, 4, 6, stops=(0,))
    zero, x = encoder(torch.zeros_like(pictures), 0), encoder(pictures, 0)
    assert not torch.allclose(encoder(2 * pictures, 0) - zero, 2 * (x - zero), rtol=1e-2)


def test_whitened_patches(pictures):
    encoder = Encoder(8, 4, 6, stops=(0,))
    encoder.whiten(pictures)
    values = encoder.patch(pictures).transpose(0, 1).flatten(1)  # (width, M)
    torch.testing.assert_close(values.mean(1), torch.zeros(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(values), torch.eye(8), atol=1e-2, rtol=0)
