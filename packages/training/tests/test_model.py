import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from raccoon_training.loss import LABEL_FREE, Prediction, single_stage_loss
from raccoon_training.model import SplitConfig, SplitModel, TrainingPass
from raccoon_training.noise import Noise
from raccoon_training.reference_coder import Tables, quantise


def run(model, x, point, channels=None, *, rounding=False, rate_weight=1.0, step=0) -> TrainingPass:
    channels = torch.full((len(x),), model.config.latent_channels) if channels is None else channels
    return model(
        x, point, channels, torch.full((len(x),), rate_weight), Noise(1, step, range(len(x))), rounding=rounding
    )


@pytest.fixture
def targets(pictures) -> torch.Tensor:
    """Features (16, 32, 8, 8) that a network of one patch convolution would make."""
    torch.manual_seed(5)
    return F.conv2d(pictures, torch.randn(32, 3, 8, 8) / 8, stride=8)


def test_operating_points():
    config = SplitConfig(stops=(0, 4), rate_targets=(0.1, 0.4, 1.6))
    assert config.points() == [(0, 0), (0, 1), (0, 2), (4, 0), (4, 1), (4, 2)]
    assert SplitConfig.parse(json.loads(json.dumps(config.json()))) == config


@pytest.mark.parametrize("targets", [(), (0.0, 0.5), (-1.0,), (0.5, 0.2)])
def test_rates_that_cannot_be(targets):
    with pytest.raises(ValueError, match="above 0 and rising"):
        SplitConfig(rate_targets=targets)


@pytest.mark.parametrize("stops", [(), (2, 0), (1, 1), (-1, 2)])
def test_stops_that_cannot_be(stops):
    with pytest.raises(ValueError, match="from 0 and rising"):
        SplitConfig(stops=stops)


def test_config_of_another_architecture():
    old = SplitConfig().json() | {"rate_weights": [1.6, 0.2]}
    del old["rate_targets"]
    with pytest.raises(ValueError, match="another architecture: its config differs in rate_targets, rate_weights"):
        SplitConfig.parse(old)


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
        point = torch.full((2,), p)
        with torch.no_grad():
            features = run(model, pictures[:2], point, rounding=True).features
            latents = model.encoder(pictures[:2], n)
            symbols = torch.from_numpy(np.stack([quantise(latent, p, tables) for latent in latents.numpy()]))
            decoded = model.decoder(model.dequantise(symbols.float(), point), point)
        torch.testing.assert_close(model.quantise(latents, point), symbols.float(), atol=0, rtol=0)
        torch.testing.assert_close(decoded, features, atol=1e-4, rtol=1e-4)


def test_more_bits_for_the_higher_rates(config, pictures, targets):
    model = SplitModel(config)
    model.calibrate(pictures, targets)
    low, high = (run(model, pictures[:1], torch.tensor([p])).bits.item() for p in (0, 1))
    assert 0 < low < high


def test_a_level_reads_the_density_in_its_own_steps(config, generator):
    """The probabilities of all symbols sum to 1 at any gain; a finer step is less likely."""
    model = SplitModel(config)
    model.log_gain.data += 0.5 * torch.randn(model.log_gain.shape, generator=generator)
    model.refresh_median()
    points = torch.arange(len(config.points()))
    steps = torch.arange(-300.0, 301) + model.step_median[:, :, None]
    likelihood = model.likelihood(steps, points)
    torch.testing.assert_close(likelihood.double().sum(-1), torch.ones(6, 6).double(), atol=1e-3, rtol=0)
    centre = likelihood[..., 300]
    model.log_gain.data += 1.0
    assert (model.likelihood(steps, points)[..., 300] < centre).all()


def test_training_and_codec_agree_on_the_rate(config, pictures, targets, monkeypatch):
    """A random share of the positions estimates what all cost; noise costs about what rounding does."""
    model = SplitModel(config)
    model.calibrate(pictures, targets)
    model.refresh_median()
    point = torch.tensor([1] * 16)
    some = torch.stack([run(model, pictures, point, step=step).bits for step in range(20)]).mean()
    monkeypatch.setattr("raccoon_training.model.RATE_SHARE", 1)
    every = run(model, pictures, point).bits.mean()
    symbols = model.quantise(model.encoder(pictures, 0), point)
    exact = model.symbol_bits(symbols, point).sum(1).mean()
    one_by_one = -model.likelihood(symbols.flatten(2) + model.step_median[point][:, :, None], point).log2().sum((1, 2))
    assert exact.item() == pytest.approx(one_by_one.mean().item(), rel=1e-4)
    assert some.item() == pytest.approx(every.item(), rel=0.05)
    assert exact.item() == pytest.approx(every.item(), rel=0.1)
    coded = run(model, pictures, point).coded_bits.mean()
    assert coded.item() == pytest.approx(exact.item(), rel=1e-3)


def test_dropped_channels_cost_nothing_and_say_nothing(config, pictures, targets):
    """A prefix of three channels: what a receiver gets that has only seen the first slice."""
    model = SplitModel(config)
    model.calibrate(pictures, targets)
    model.refresh_median()
    point, three = torch.arange(6), torch.full((6,), 3)
    with torch.no_grad():
        short = run(model, pictures[:6], point, three, rounding=True)
        assert (short.bits < run(model, pictures[:6], point).bits).all()
        for p, (n, _) in enumerate(config.points()):
            symbols = model.quantise(model.encoder(pictures[p : p + 1], n), point[p : p + 1])
            symbols[:, 3:] = 0
            decoded = model.decoder(model.dequantise(symbols, point[p : p + 1]), point[p : p + 1])
            torch.testing.assert_close(decoded, short.features[p : p + 1], atol=1e-4, rtol=1e-4)


def test_lambda_moves_the_latent_and_not_the_density(config, pictures):
    gradients = []
    for rate_weight in (1.0, 3.0):
        torch.manual_seed(3)
        model = SplitModel(config)
        for p in model.parameters():
            p.data += 0.1 * torch.randn(p.shape)
        point, noise = torch.arange(6), Noise(1, 0, range(6))
        weight = torch.full((6,), rate_weight)
        model(pictures[:6], point, torch.full((6,), 6), weight, noise, rounding=False).bits.sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        factor = 1 if name.startswith("density.") else 3
        torch.testing.assert_close(gradients[1][name], factor * gradient, rtol=1e-4, atol=1e-4)


def test_the_exit_leaves_the_encoder_alone(config, pictures):
    model = SplitModel(config)
    result = run(model, pictures[:6], torch.arange(6))
    assert result.exit_logits.shape == (6, 10)
    result.exit_logits.square().sum().backward()
    moved = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"exits"}


@pytest.mark.parametrize("rounding", [False, True])
def test_a_small_model_learns(config, pictures, targets, rounding):
    """The loss falls by a fifth in twenty steps, and every parameter takes part."""
    model = SplitModel(config)
    model.calibrate(pictures, targets)
    variance = [targets.var((0, 2, 3))]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    point = torch.arange(16) % len(config.points())
    losses = []
    for step in range(20):
        result = run(model, pictures, point, step=step, rounding=rounding, rate_weight=0.1)
        split, unsplit = Prediction([result.features]), Prediction([targets])
        loss = single_stage_loss(result.bits / (64 * 64), split, unsplit, LABEL_FREE, variances=variance)
        optimiser.zero_grad()
        (loss.total.mean() + result.exit_logits.square().mean()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimiser.step()
        losses.append(loss.total.mean().item())
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_configs_from_before_there_were_other_networks():
    """Checkpoints of the first universal models parse, as what they were; their weights fit."""
    old = SplitConfig().json()
    for name in ("network", "joint", "condition", "cloud_fixed"):
        del old[name]
    config = SplitConfig.parse(old)
    assert config == SplitConfig() and (config.network, config.joint, config.condition) == ("mobilenet", False, "first")
    names = {name.split(".")[0] for name in SplitModel(config).state_dict()}
    assert "classifier" not in names and SplitModel(config).state_dict()["decoder.scale"].shape == (24, 64)


def test_a_condition_that_there_is_not():
    with pytest.raises(ValueError, match="no condition other; there are none, first, film"):
        SplitConfig(condition="other")


def test_no_channel_is_rounded_finer_than_is_of_use(config, pictures, targets):
    """The decoder sees the same latent, less finely; channels within the limit are as they were."""
    model = SplitModel(config).eval()
    model.calibrate(pictures, targets)
    n, p = config.stops[-1], len(config.points()) - 1
    with torch.no_grad():
        model.log_gain[p, 1] += 5
        model.log_inverse_gain[p, 1] -= 5
        model.refresh_median()
        before = model.log_gain.clone()
        latent, point = model.encoder(pictures, n), torch.full((16,), p)
        exact = model.dequantise(model.quantise(latent, point), point)
        assert model.limit_gains(pictures, 4.0) == 1
        restored = model.dequantise(model.quantise(latent, point), point)
        steps = (latent * model.log_gain[p].exp()[:, None, None]).std((0, 2, 3))
        bits = model.symbol_bits(model.quantise(latent, point), point)
    assert steps[1] == pytest.approx(4, rel=1e-4) and torch.equal(before[:p], model.log_gain[:p])
    assert torch.equal(restored[:, 0], exact[:, 0]) and torch.equal(restored[:, 2:], exact[:, 2:])
    largest = 0.5 / 4 * latent[:, 1].std()  # half of a step
    assert 0 < (restored[:, 1] - exact[:, 1]).abs().max() <= 1.1 * largest
    assert bits[:, 1].max() < 64 * 8  # a symbol of a few bits where it was one of ten
    for finest in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="steps a deviation, above 0"):
            model.limit_gains(pictures, finest)
