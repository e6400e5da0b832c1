import numpy as np
import pytest
import torch
import torch.nn.functional as F

from raccoon_training.loss import LABEL_FREE, Prediction, single_stage_loss
from raccoon_training.model import SplitConfig, SplitModel
from raccoon_training.reference_coder import Tables, quantise


@pytest.fixture
def targets(pictures) -> torch.Tensor:
    """Features (16, 32, 8, 8) that a network of one patch convolution would make."""
    torch.manual_seed(5)
    return F.conv2d(pictures, torch.randn(32, 3, 8, 8) / 8, stride=8)


def test_operating_points():
    config = SplitConfig(stops=(0, 4), rate_weights=(1.6, 0.4, 0.1))
    assert config.points() == [(0, 0), (0, 1), (0, 2), (4, 0), (4, 1), (4, 2)]
    assert SplitConfig(**{**config.json(), "stops": (0, 4)}) == config


def test_calibrate_starts_everything_at_deviation_one(config, pictures, targets):
    model = SplitModel(config)
    model.calibrate(pictures, targets)
    for n in config.stops:
        deviation, mean = torch.std_mean(model.encoder(pictures, n), (0, 2, 3))
        torch.testing.assert_close(deviation, torch.ones(6), atol=1e-3, rtol=0)
        torch.testing.assert_close(mean, torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(model.decoder.mean.flatten(), targets.mean((0, 2, 3)))
    torch.testing.assert_close(model.decoder.deviation.flatten(), targets.std((0, 2, 3)), rtol=1e-2, atol=1e-3)


def test_training_rounds_as_the_codec_does(config, pictures, targets, generator):
    """What the decoder sees in training with `rounding` is what it gets from the symbols on the wire."""
    model = SplitModel(config)
    model.calibrate(pictures, targets)
    model.log_gain.data += 0.3 * torch.randn(model.log_gain.shape, generator=generator)
    model.refresh_median()
    gain, median = (t.numpy() for t in model.gains())
    tables = Tables(gain, median, np.zeros(gain.shape, int), [])
    for p, (n, _) in enumerate(config.points()):
        point, depth = torch.full((2,), p), torch.full((2,), n)
        with torch.no_grad():
            features, _ = model(pictures[:2], point, depth, generator, rounding=True)
            latents = model.encoder(pictures[:2], n).numpy()
            symbols = torch.from_numpy(np.stack([quantise(latent, p, tables) for latent in latents]))
            decoded = model.decoder(model.dequantise(symbols.float(), point))
        torch.testing.assert_close(decoded, features, atol=1e-4, rtol=1e-4)


def test_more_bits_for_the_higher_rates(config, pictures, targets, generator):
    model = SplitModel(config)
    model.calibrate(pictures, targets)
    low, high = (model(pictures[:1], torch.tensor([p]), torch.tensor([0]), generator, True)[1].item() for p in (0, 1))
    assert 0 < low < high


@pytest.mark.parametrize("rounding", [False, True])
def test_a_small_model_learns(config, pictures, targets, generator, rounding):
    """The whole loss falls by a fifth in twenty steps, and every parameter takes part."""
    model = SplitModel(config)
    model.calibrate(pictures, targets)
    variance = [targets.var((0, 2, 3))]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    point = torch.arange(16) % len(config.points())
    depth = torch.tensor([config.points()[p][0] for p in point])
    losses = []
    for _ in range(20):
        features, bits = model(pictures, point, depth, generator, rounding)
        rate = 0.1 * bits / (64 * 64)
        loss = single_stage_loss(rate, Prediction([features]), Prediction([targets]), LABEL_FREE, variances=variance)
        optimiser.zero_grad()
        loss.total.mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimiser.step()
        losses.append(loss.total.mean().item())
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
