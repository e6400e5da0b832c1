import copy
import math

import pytest
import torch
from conftest import count_macs
from torch import nn

from raccoon_training.decoder import PaperDecoder
from raccoon_training.export import graph_macs, write_graph
from raccoon_training.noise import Noise
from raccoon_training.paper import (
    CLASSIFIER_FIXED,
    JOINT,
    TAIL_MASS,
    EntropyBottleneck,
    PaperModel,
    PaperTraining,
    PatchEncoder,
    Recipe,
    paper_model,
    predict,
)
from raccoon_training.resnet import ResNet, ResNetClassifier
from raccoon_training.tables import build_tables


class SmallClassifier(nn.Module):
    """The shape of a truncated ResNet in a few channels: three strided stages and a matrix."""

    feature_channels = 6

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(6, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU()) for _ in range(3)
        )
        self.fc = nn.Linear(6, 4)

    def tail(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        behind = []
        for layer in self.layers:
            x = layer(x)
            behind.append(x)
        return self.fc(x.mean((2, 3))), behind


class SmallNetwork(SmallClassifier):
    """The same with a stem to an eighth of the photo's size."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 8, 8)

    def stem(self, x: torch.Tensor) -> torch.Tensor:
        return self.patch(x).relu()


def small_model(classifier: nn.Module | None = None) -> PaperModel:
    decoder = nn.Sequential(nn.Conv2d(5, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 6, 1))
    return PaperModel(PatchEncoder(1, width=8, latent_channels=5), decoder, classifier or SmallClassifier())


def small_training(rate_weight: float = 0.3, stages=JOINT, recipe: Recipe | None = None) -> PaperTraining:
    unsplit = SmallNetwork().eval().requires_grad_(False)
    return PaperTraining(small_model(), unsplit, rate_weight, stages, recipe or Recipe(epochs=4, batch=16))


LABELS = torch.arange(16) % 4
NOISE = Noise(1, 0, range(16))


@pytest.mark.parametrize(
    ("n", "macs", "parameters"),
    [(0, 25_690_112, 32_960), (4, 488_112_128, 623_552), (8, 950_534_144, 1_214_144)],
)
def test_cost_of_the_encoder(n, macs, parameters, tmp_path):
    """784 * (32,768 + 147,456 N) multiply-accumulates: counted by hooks, in the ONNX graph, and by the model itself."""
    encoder = PatchEncoder(n)
    assert sum(p.numel() for p in encoder.parameters()) == parameters
    assert macs == 784 * (32_768 + 147_456 * n) == encoder.macs(224, 224)
    x = torch.zeros(1, 3, 224, 224)
    write_graph(encoder, tmp_path / "encoder.onnx", {"tensor": x}, "latent", batched=False)
    assert graph_macs(tmp_path / "encoder.onnx", {"tensor": x}) == macs
    assert count_macs(encoder, 3, 224, 224) == macs


def test_cost_of_the_decoder_and_the_classifier(tmp_path):
    """7.9 GMAC, more than twice the truncated ResNet-50. The graph is counted at a quarter of height and width."""
    with torch.device("meta"):
        model = paper_model(4, ResNetClassifier(50))
    assert model.decoder.macs(28, 28) == count_macs(model.decoder, 64, 28, 28) == 7_925_399_552
    assert count_macs(model.classifier, 256, 56, 56) == pytest.approx(3.30e9, rel=0.01)
    latent = torch.zeros(1, 64, 7, 7)
    write_graph(PaperDecoder(), tmp_path / "decoder.onnx", {"latent": latent}, "features", batched=True)
    assert graph_macs(tmp_path / "decoder.onnx", {"latent": latent}) == 7_925_399_552 // 16


@pytest.mark.parametrize("depth", [18, 50])
def test_the_papers_shapes(depth):
    with torch.device("meta"):
        unsplit = ResNet(depth)
        model = paper_model(4, unsplit.classifier() if depth == 18 else ResNetClassifier(50))
        x = torch.empty(2, 3, 224, 224)
        latent = model.encoder(x)
        prediction = predict(model.classifier, model.decoder(latent))
        target = predict(unsplit, unsplit.stem(x))
    assert latent.shape == (2, 64, 28, 28)  # 50,176 symbols: as many as pixels, so bpp = bits per symbol
    assert [f.shape for f in prediction.features] == [f.shape for f in target.features]
    assert len(prediction.features) == 4 and prediction.logits.shape == (2, 1000)


def test_without_blocks_it_is_not_linear(pictures):
    encoder = PatchEncoder(0, width=8, latent_channels=6)
    assert isinstance(encoder[1], nn.GELU)
    zero, x = encoder(torch.zeros_like(pictures)), encoder(pictures)
    assert not torch.allclose(encoder(2 * pictures) - zero, 2 * (x - zero), rtol=1e-2)


def test_entropy_model_in_training_and_evaluation(generator):
    bottleneck = EntropyBottleneck(3)
    bottleneck.quantiles.data[:, 1] = torch.tensor([0.0, 0.3, -2.6])
    latent = 4 * torch.randn(2, 3, 5, 6, generator=generator)
    noisy, bits = bottleneck(latent, Noise(1, 0, range(2)))
    assert bits.shape == (2,) and (bits > 0).all()
    assert ((noisy - latent).abs() <= 0.5).all() and (noisy - latent).std() == pytest.approx(12**-0.5, rel=0.15)
    bottleneck.eval()
    quantised, bits = bottleneck(latent, None)
    steps = quantised - bottleneck.median[0, :, None, None]
    torch.testing.assert_close(steps, steps.round(), atol=1e-5, rtol=0)  # whole steps around the median
    assert ((quantised - latent).abs() <= 0.5 + 1e-5).all()
    expected = -bottleneck.density.likelihood(quantised.flatten(2), torch.zeros(2, dtype=torch.long)).log2().sum((1, 2))
    torch.testing.assert_close(bits, expected)


def test_entropy_model_stays_in_float32_under_autocast(generator):
    bottleneck = EntropyBottleneck(3)
    latent = torch.randn(2, 3, 4, 4, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        quantised, bits = bottleneck(latent.bfloat16(), Noise(1, 0, range(2)))
        assert bottleneck.quantile_loss().dtype == torch.float32
    assert quantised.dtype == bits.dtype == torch.float32


def test_quantiles_are_optimised():
    """They end where bisection says, and only they have moved."""
    bottleneck = EntropyBottleneck(2, init_scale=4.0)
    for parameter in bottleneck.density.parameters():
        parameter.data += 0.5 * torch.randn(parameter.shape)
    before = copy.deepcopy(bottleneck.density.state_dict())
    start = bottleneck.quantile_loss().item()
    for lr in (1.0, 0.1, 0.01, 0.001):  # the loss has a corner where it is least: ever smaller steps
        optimiser = torch.optim.Adam([bottleneck.quantiles], lr=lr)
        for _ in range(100):
            optimiser.zero_grad()
            bottleneck.quantile_loss().backward()
            optimiser.step()
    assert all(p.grad is None for p in bottleneck.density.parameters())
    assert all(torch.equal(value, before[name]) for name, value in bottleneck.density.state_dict().items())
    assert bottleneck.quantile_loss() < 0.01 * start
    torch.testing.assert_close(bottleneck.median, bottleneck.density.median(), atol=0.01, rtol=0)
    logit = bottleneck.density.logit(bottleneck.quantiles[None], torch.zeros(1, dtype=torch.long))[0].double()
    outside = torch.sigmoid(logit[:, 0]) + torch.sigmoid(-logit[:, 2])
    torch.testing.assert_close(outside, torch.full((2,), TAIL_MASS, dtype=torch.float64), rtol=0.1, atol=0)


def test_training_learns_and_moves_the_quantiles(pictures):
    training = small_training(recipe=Recipe(epochs=60, batch=16, quantile_lr=0.05))
    model, losses = training.model, []
    for epoch in range(60):
        training.start_epoch(epoch)
        terms, bpp, logits = training.step(pictures, LABELS, Noise(1, epoch, range(16)))
        losses.append(float(terms.total.mean()))
        assert bpp.shape == (16,) and logits.shape == (16, 4) and (terms.ce > 0).all() and (terms.kl >= 0).all()
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    start = EntropyBottleneck(5).quantiles
    assert (model.bottleneck.quantiles[:, 0] < start[:, 0]).all()  # +-10 is too narrow for a tail of 1e-9
    assert (model.bottleneck.quantiles[:, 1] != 0).all()
    # what is trained can be coded
    tables = build_tables(model.bottleneck.density, model.bottleneck.median)
    assert len(tables) == 5 and all(f.sum() == 1 << 16 and f.min() >= 1 for _, f in tables)


def test_a_larger_lambda_spends_fewer_bits(pictures):
    spent = {}
    for rate_weight in (0.01, 100.0):
        torch.manual_seed(5)
        training = small_training(rate_weight, recipe=Recipe(lr=0.003, epochs=1, batch=16))
        for _ in range(40):
            training.step(pictures, LABELS, NOISE)
        training.model.eval()
        spent[rate_weight] = float(training.model(pictures).bits.detach().mean())
    assert spent[100.0] < 0.8 * spent[0.01]


def test_classifier_fixed(pictures):
    """Neither weights nor BatchNorm's statistics of the classifier change; everything else learns."""
    training = small_training(stages=CLASSIFIER_FIXED)
    before = copy.deepcopy(training.model.state_dict())
    training.step(pictures, LABELS, NOISE)
    for name, value in training.model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("classifier."), name
    assert not training.model.classifier.training and training.model.encoder.training


def test_joint(pictures):
    training = small_training()
    before = copy.deepcopy(training.model.state_dict())
    unsplit = copy.deepcopy(training.unsplit.state_dict())
    training.step(pictures, None, NOISE)  # label-free as well
    after = training.model.state_dict()
    assert not any(torch.equal(value, before[name]) for name, value in after.items() if name.endswith("weight"))
    assert not torch.equal(after["classifier.layers.0.1.running_mean"], before["classifier.layers.0.1.running_mean"])
    assert all(torch.equal(value, unsplit[name]) for name, value in training.unsplit.state_dict().items())


def test_from_scratch(pictures):
    """Without an unsplit network nothing is compared: rate and labels alone."""
    training = PaperTraining(small_model(), None, 0.3, JOINT, Recipe(epochs=4, batch=16))
    noisy = training.model(pictures, NOISE).bits / 64**2
    terms, bpp, _ = training.step(pictures, LABELS, NOISE)
    assert not any(term.any() for term in (terms.split, terms.taps, terms.kl))
    torch.testing.assert_close(terms.total, 0.3 * noisy + 0.5 * terms.ce)
    assert not bpp.requires_grad and (bpp > 0).all()
    assert all(p.grad.isfinite().all() for p in training.model.parameters())


def test_bfloat16_and_clipping(pictures):
    """The step of a clipped gradient: at most lr x clip, over all weights."""
    training = small_training(recipe=Recipe(lr=1.0, momentum=0.0, weight_decay=0.0, epochs=1, batch=16))
    training.bf16, training.clip = True, 0.01
    before = [p.detach().clone() for p in training.model.parameters()]
    terms, bpp, _ = training.step(pictures, LABELS, NOISE)
    assert terms.total.dtype == bpp.dtype == torch.float32
    quantiles = training.model.bottleneck.quantiles
    moved = [p - b for p, b in zip(training.model.parameters(), before, strict=True) if p is not quantiles]
    assert torch.cat([m.flatten() for m in moved]).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_recipe():
    model, recipe = small_model(), Recipe()
    network, quantiles = recipe.optimisers(model)
    plain, decayed = network.param_groups
    assert (plain["weight_decay"], decayed["weight_decay"], decayed["momentum"]) == (0.0, 1e-4, 0.9)
    weights = {id(p) for name, p in model.named_parameters() if name.startswith("classifier.") and p.ndim > 1}
    assert {id(p) for p in decayed["params"]} == weights
    assert [id(p) for p in quantiles.param_groups[0]["params"]] == [id(model.bottleneck.quantiles)]
    given = [*plain["params"], *decayed["params"], model.bottleneck.quantiles]
    assert len(given) == len({id(p) for p in given}) == len(list(model.parameters()))  # every one, once

    rates = [recipe.learning_rate(epoch) for epoch in range(recipe.epochs)]
    assert rates[0] == 0.01 and rates[-1] == pytest.approx(0.0001)
    assert rates == sorted(rates, reverse=True)
    assert rates[7] == pytest.approx(0.01 * (0.01 + 0.99 * (1 + math.cos(math.pi * 7 / 19)) / 2))
    assert Recipe(epochs=1).learning_rate(0) == 0.01


def test_a_run_that_goes_on_takes_the_same_steps(pictures):
    def steps(training: PaperTraining, epochs: range) -> list[float]:
        losses = []
        for epoch in epochs:
            training.start_epoch(epoch)
            losses.append(float(training.step(pictures, LABELS, Noise(1, epoch, range(16)))[0].total.mean()))
        return losses

    torch.manual_seed(7)
    whole = small_training()
    stopped, resumed = copy.deepcopy(whole), copy.deepcopy(whole)
    expected = steps(whole, range(4))
    first = steps(stopped, range(2))
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    assert first + steps(resumed, range(2, 4)) == expected


def test_what_cannot_be_trained(pictures):
    for rate_weight in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="lambda must be above 0"):
            small_training(rate_weight)
    with pytest.raises(ValueError, match="no part clasifier; it has encoder, bottleneck"):
        small_model().freeze("clasifier")
    with torch.device("meta"):
        wide, narrow = ResNet(50), paper_model(0, ResNetClassifier(18))
    with pytest.raises(ValueError, match="a ResNet-50 cannot teach a ResNet-18"):
        PaperTraining(narrow, wide, 1.0)
    training = small_training()
    before = copy.deepcopy(training.model.state_dict())
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        training.step(pictures * math.inf, LABELS, NOISE)
    for name, value in training.model.state_dict().items():
        assert torch.equal(value, before[name]) or "running" in name or "batches" in name
