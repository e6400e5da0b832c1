import pytest
import torch
from conftest import count_macs

from raccoon_training.encoder import Encoder
from raccoon_training.export import EncoderGraph


@pytest.mark.parametrize(
    ("n", "macs", "parameters"),
    [(0, 25_690_112, 32_960), (4, 488_112_128, 623_552), (8, 950_534_144, 1_214_144)],
)
def test_cost_of_the_papers_encoder(n, macs, parameters):
    """arXiv 2211.09897, Table I: 0.489 B at N=4. 784 * (32,768 + 147,456 N)."""
    encoder = Encoder(128, 64, 64, stops=(n,))
    assert sum(p.numel() for p in encoder.parameters()) == parameters
    assert encoder.macs(224, 224, n) == macs == 784 * (32_768 + 147_456 * n)
    assert count_macs(EncoderGraph(encoder, n), 3, 224, 224) == macs


def test_depths_in_one_batch(pictures):
    encoder = Encoder(8, 4, 6, stops=(0, 1, 3))
    depths = torch.tensor([0, 3, 1, 1, 3, 0, 0, 3, 1])
    each = torch.cat([encoder(x[None], int(n)) for x, n in zip(pictures, depths, strict=False)])
    torch.testing.assert_close(encoder.mixed(pictures[:9], depths), each)


@pytest.mark.parametrize("depth", [0, 3])
def test_one_depth_for_all(pictures, depth):
    encoder = Encoder(8, 4, 6, stops=(0, 1, 3))
    depths = torch.full((len(pictures),), depth)
    torch.testing.assert_close(encoder.mixed(pictures, depths), encoder(pictures, depth))


def test_every_depth_learns(pictures):
    encoder = Encoder(8, 4, 6, stops=(0, 1, 3))
    encoder.mixed(pictures[:3], torch.tensor([0, 1, 3])).square().sum().backward()
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
