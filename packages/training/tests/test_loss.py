import pytest
import torch
import torch.nn.functional as F

from raccoon_training.loss import LABEL_FREE, PAPER, Prediction, feature_error, prediction_error, single_stage_loss

BATCH = 4


@pytest.fixture
def networks(generator) -> tuple[Prediction, Prediction]:
    """Split and unsplit: four features and logits."""

    def predict() -> Prediction:
        shapes = [(8, 6, 6), (16, 3, 3), (32, 2, 2), (64, 1, 1)]
        features = [torch.randn(BATCH, *shape, generator=generator) for shape in shapes]
        return Prediction(features, torch.randn(BATCH, 10, generator=generator))

    return predict(), predict()


def test_the_papers_loss(networks):
    """lambda * R + the sum of four mean squared errors + 0.5 * (KL + CE), from torch's own losses."""
    split, unsplit = networks
    labels, bpp, rate_weight = torch.tensor([1, 0, 9, 3]), torch.rand(BATCH), 0.32
    terms = single_stage_loss(rate_weight * bpp, split, unsplit, PAPER, labels=labels)
    mse = sum(F.mse_loss(a, b) for a, b in zip(split.features, unsplit.features, strict=True))
    kl = F.kl_div(split.logits.log_softmax(1), unsplit.logits.softmax(1), reduction="batchmean")
    ce = F.cross_entropy(split.logits, labels)
    torch.testing.assert_close(terms.total.mean(), rate_weight * bpp.mean() + mse + 0.5 * (kl + ce))


def test_label_free_is_the_same_without_cross_entropy(networks):
    split, unsplit = networks
    bpp, labels = torch.rand(BATCH), torch.tensor([1, 0, 9, 3])
    free = single_stage_loss(bpp, split, unsplit, LABEL_FREE)
    labelled = single_stage_loss(bpp, split, unsplit, LABEL_FREE, labels=labels)
    assert not free.ce.any()
    torch.testing.assert_close(labelled.total, free.total + LABEL_FREE.prediction * labelled.ce)
    torch.testing.assert_close(free.total, 2 * free.split + bpp + free.taps + free.kl)


def test_head_start_has_rate_and_split_alone(networks):
    split, unsplit = (Prediction(network.features[:1]) for network in networks)
    terms = single_stage_loss(torch.ones(BATCH), split, unsplit, LABEL_FREE)
    assert not terms.taps.any() and not terms.kl.any()
    torch.testing.assert_close(terms.total, 1 + 2 * terms.split)


def test_tail_ramp(networks):
    none, half, whole = (single_stage_loss(torch.zeros(BATCH), *networks, tail=tail).total for tail in (0, 0.5, 1))
    torch.testing.assert_close(half - none, (whole - none) / 2)


def test_equal_networks_cost_only_their_rate(networks):
    terms = single_stage_loss(torch.full((BATCH,), 0.7), networks[0], networks[0])
    torch.testing.assert_close(terms.total, torch.full((BATCH,), 0.7))


def test_variance_makes_units_equal(generator):
    a, b = (torch.randn(2, 3, 4, 4, generator=generator) for _ in range(2))
    scale = torch.tensor([1.0, 10.0, 0.1])
    scaled = feature_error(a * scale[:, None, None], b * scale[:, None, None], scale**2)
    torch.testing.assert_close(scaled, feature_error(a, b, torch.ones(3)))


def test_kl_is_positive_and_directed():
    sure, unsure = torch.tensor([[10.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    assert prediction_error(unsure, sure).item() == pytest.approx(0.6931, abs=1e-3)  # log 2
    assert prediction_error(sure, unsure).item() > 4


def test_networks_must_match(networks):
    with pytest.raises(ValueError):
        single_stage_loss(torch.zeros(BATCH), networks[0], Prediction(networks[1].features[:2], networks[1].logits))
