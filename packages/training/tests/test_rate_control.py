from dataclasses import replace

import pytest
import torch

from raccoon_training.model import SplitModel
from raccoon_training.rate_control import LAMBDAS, RateControl


@pytest.fixture
def control(config) -> RateControl:
    return RateControl(torch.tensor([config.rate_targets[q] for _, q in config.points()]))


def test_lambda_falls_with_the_rate(control):
    weight = control.weight(torch.arange(6))
    assert weight[0] == weight[2] > weight[1] == weight[3] > 0


def test_low_rates_do_not_drown_the_high_ones(control):
    share = control.share(torch.arange(6))
    assert share.mean().item() == pytest.approx(1) and share[1] > share[0]
    weighted = share * control.weight(torch.arange(6))  # what the rate's gradient counts
    assert weighted[0] > weighted[1]


def test_only_points_off_their_target_move(control, config):
    model = SplitModel(config)
    gain, inverse, weight = model.log_gain.clone(), model.log_inverse_gain.clone(), control.log_weight.clone()
    control.update(model, torch.tensor([1, 2, 3]), torch.tensor([0.8, 0.4, 0.4]))  # on target, over it, under it
    assert torch.equal((control.log_weight - weight).sign(), torch.tensor([0.0, 0, 1, -1, 0, 0]))
    assert torch.equal((model.log_gain - gain).sign()[:, 0], torch.tensor([0.0, 0, -1, 1, 0, 0]))
    torch.testing.assert_close(model.log_gain - gain, inverse - model.log_inverse_gain)  # the decoder's scale stays


def test_the_decoders_scale_is_given_where_the_cloud_half_is(control, config):
    model = SplitModel(replace(config, cloud_fixed=True))
    gain, inverse = model.log_gain.clone(), model.log_inverse_gain.clone()
    control.update(model, torch.tensor([2]), torch.tensor([0.4]))
    assert model.log_gain[2, 0] < gain[2, 0] and torch.equal(model.log_inverse_gain, inverse)


def test_rates_come_to_their_targets(control, config):
    """A source of unit Gaussians, whose bits go like log2 of the gain."""
    model, point = SplitModel(config), torch.arange(6)
    for _ in range(1500):
        bpp = (2.05 + model.log_gain.mean(1) / 0.693).clamp_min(0.05) * 6 / 64
        control.update(model, point, bpp)
    torch.testing.assert_close(bpp, control.targets, rtol=0.1, atol=0)
    assert all(LAMBDAS[0] * 0.999 <= w <= LAMBDAS[1] * 1.001 for w in control.weight(point))
