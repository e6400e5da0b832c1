import copy

import pytest
import torch
from conftest import count_macs
from test_paper import SmallClassifier, SmallNetwork
from torch import nn

from raccoon_training.entropic_student import (
    GDN,
    TABLE_I,
    TWO_STAGES,
    LowerBound,
    QuarterDecoder,
    StudentDecoder,
    StudentEncoder,
)
from raccoon_training.export import graph_macs, run_graph, write_graph
from raccoon_training.noise import Noise
from raccoon_training.paper import PaperModel, PaperTraining, PatchEncoder, Recipe
from raccoon_training.resnet import ResNetClassifier


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_its_formula(inverse, generator):
    gdn = GDN(3, inverse=inverse)
    gdn.gamma = torch.rand(3, 3, 1, 1, generator=generator)  # through the parametrisation and back
    gdn.beta = torch.rand(3, generator=generator) + 0.1
    x = torch.randn(2, 3, 4, 5, generator=generator)
    beta, gamma = gdn.beta, gdn.gamma[:, :, 0, 0]
    y = gdn(x)
    for i in range(3):
        norm = beta[i] + sum(gamma[i, j] * x[:, j].abs() for j in range(3))
        torch.testing.assert_close(y[:, i], x[:, i] * norm if inverse else x[:, i] / norm)


def test_gdn_starts_mild_and_inverts(generator):
    x = torch.randn(1, 4, 3, 3, generator=generator)
    torch.testing.assert_close(GDN(4)(x), x / (1 + 0.1 * x.abs()))
    torch.testing.assert_close(GDN(4, inverse=True)(x), x * (1 + 0.1 * x.abs()))


def test_gdn_cannot_divide_by_zero_or_less(generator):
    """Whatever a step does to the learned roots; and values below the bound find their way back."""
    gdn = GDN(2)
    for root in gdn.parameters():
        root.data -= 5
    assert (gdn.beta >= 0.9e-6).all() and (gdn.gamma >= 0).all()
    x = torch.randn(1, 2, 3, 3, generator=generator)
    assert gdn(x).isfinite().all()
    root = torch.tensor([-1.0, 2.0], requires_grad=True)
    (LowerBound.apply(root, 0.5) * torch.tensor([-3.0, 3.0])).sum().backward()
    assert root.grad.tolist() == [-3.0, 3.0]  # up is allowed below the bound
    root.grad = None
    LowerBound.apply(root, 0.5).sum().backward()
    assert root.grad.tolist() == [0.0, 1.0]  # further down is not


def test_folded_gdn_computes_the_same(generator):
    gdn = GDN(3)
    for root in gdn.parameters():
        root.data += torch.rand(root.shape, generator=generator)
    x = torch.randn(1, 3, 4, 4, generator=generator)
    expected = gdn(x)
    gdn.fold()
    assert torch.equal(gdn(x), expected) and gdn.state_dict().keys() == {"beta", "gamma"}


@pytest.mark.parametrize("name", TABLE_I)
def test_shapes_and_flops_of_table_i(name):
    """The printed FLOPs are multiply-accumulates and biases of the convolutions."""
    with torch.device("meta"):
        model = TABLE_I[name].model(ResNetClassifier(50))
        x = torch.empty(1, 3, 224, 224)
        latent = model.encoder(x)
        assert model.decoder(latent).shape == (1, 256, 56, 56)
    assert latent.shape[1:] == {"B": (24, 56, 56), "C": (64, 28, 28)}.get(name, (24, 55, 55))
    biases = 0

    def count(conv: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal biases
        biases += 0 if conv.bias is None else output.numel()

    for module in model.encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    assert round((count_macs(model.encoder, 3, 224, 224) + biases) / 1e9, 3) == TABLE_I[name].flops / 1e9
    assert TABLE_I[name].stages == (TWO_STAGES if name == "ES" else TABLE_I["C"].stages)


def test_gdn_counts_in_the_graph(tmp_path):
    """465.5 M of the convolutions as in the paper, and 122.8 M that it leaves out."""
    encoder = StudentEncoder()
    for module in encoder.modules():
        if isinstance(module, GDN):
            module.fold()
    x = torch.randn(1, 3, 224, 224)
    write_graph(encoder, tmp_path / "encoder.onnx", {"tensor": x}, "latent", batched=False)
    assert graph_macs(tmp_path / "encoder.onnx", {"tensor": x}) == 465_523_200 + 112**2 * 96**2 + 56**2 * 48**2
    expected = encoder(x).detach()
    actual = torch.from_numpy(run_graph(tmp_path / "encoder.onnx", {"tensor": x.numpy()}))
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_two_stages(pictures):
    """First encoder, entropy model and decoder on rate and features; then decoder and classifier on predictions."""

    class Unsplit(SmallNetwork):
        """Features at a quarter of the photo's size, as the student's."""

        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 6, 4, 4)

    model = PaperModel(StudentEncoder(3), StudentDecoder(3, 6), SmallClassifier())
    unsplit = Unsplit().eval().requires_grad_(False)
    training = PaperTraining(model, unsplit, 0.3, TWO_STAGES, Recipe(epochs=4, batch=16))

    def step(epoch: int) -> set[str]:
        """The parts that the step changed."""
        assert training.start_epoch(epoch) == (epoch == 2)  # the first stage began with the run
        noise = Noise(1, epoch, range(16))
        bpp = model(pictures, noise).bits / 64**2
        before = copy.deepcopy(model.state_dict())
        terms, coded, _ = training.step(pictures, torch.arange(16) % 4, noise)
        assert epoch < 2 or torch.equal(coded, bpp)  # what is frozen rounds
        losses = terms.split + terms.taps if epoch < 2 else 0.5 * (terms.kl + terms.ce)
        torch.testing.assert_close(terms.total, 0.3 * bpp + losses)
        return {
            name.split(".", 1)[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])
        }

    assert step(0) == step(1) == {"encoder", "bottleneck", "decoder"}
    assert step(2) == step(3) == {"decoder", "classifier"}
    # in the second stage the decoder sees rounded latents: no noise, so the same photos cost the same bits
    assert torch.equal(model(pictures).bits, model(pictures, Noise(1, 0, range(16))).bits)


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [(StudentEncoder(3), StudentDecoder(3, 6)), (PatchEncoder(2, 4, 8, 3), QuarterDecoder(3, 6))],
)
def test_every_weight_learns(encoder, decoder, pictures):
    model = PaperModel(encoder, decoder, SmallClassifier())
    passed = model(pictures, Noise(1, 0, range(16)))
    assert passed.prediction.features[0].shape == (16, 6, 16, 16)
    loss = passed.prediction.logits.square().sum() + passed.bits.sum() + passed.quantile_loss
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
