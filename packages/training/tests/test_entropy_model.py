import pytest
import torch

from raccoon_training.entropy_model import FactorizedDensity


@pytest.fixture(params=["fresh", "learned"])
def density(request, generator) -> FactorizedDensity:
    """Three points and four channels; "learned" has gates and biases all over the place."""
    density = FactorizedDensity(3, 4)
    if request.param == "learned":
        for parameter in density.parameters():
            parameter.data += torch.randn(parameter.shape, generator=generator)
    return density


EVERY = torch.arange(3)


def test_cumulative_is_monotone(density):
    x = torch.linspace(-40, 40, 4001).expand(3, 4, -1)
    logit = density.logit(x, EVERY)
    assert (logit.diff(dim=-1) > 0).all()
    assert (logit[..., 0] < 0).all() and (logit[..., -1] > 0).all()


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_likelihood_sums_to_one(density, shift):
    symbols = torch.arange(-2000, 2001) + shift
    total = density.likelihood(symbols.expand(3, 4, -1), EVERY).double().sum(-1)
    torch.testing.assert_close(total, torch.ones(3, 4, dtype=torch.float64), atol=1e-3, rtol=0)


def test_likelihood_is_exact_in_both_tails(density):
    """A difference of sigmoids near 1 would be zero or noise."""
    x = torch.tensor([-60.0, -30.0, 30.0, 60.0]).expand(3, 4, -1)
    likelihood = density.likelihood(x, EVERY)
    assert (likelihood >= 1e-9).all() and likelihood.isfinite().all()
    assert (likelihood[..., 1] >= likelihood[..., 0]).all() and (likelihood[..., 2] >= likelihood[..., 3]).all()


def test_median_halves_the_density(density):
    median = density.median()
    logit = density.logit(median[:, :, None], EVERY)
    torch.testing.assert_close(logit.sigmoid(), torch.full((3, 4, 1), 0.5), atol=1e-4, rtol=0)


def test_likelihood_at_the_centre_of_symmetry():
    """Both ends of the step are equally far out there; the most likely symbol of all must not come out as 0."""
    density = FactorizedDensity(1, 1)
    for bias in density.biases:
        bias.data.zero_()
    likelihood = density.likelihood(torch.tensor([[[-1.0, 0.0, 1.0]]]), torch.tensor([0])).flatten()
    assert likelihood[1] > likelihood[0] == likelihood[2] > 0.01


def test_points_have_densities_of_their_own(density):
    x = torch.randn(2, 4, 5)
    both = density.likelihood(x, torch.tensor([2, 0]))
    torch.testing.assert_close(both[:1], density.likelihood(x[:1], torch.tensor([2])))
    assert not torch.allclose(both[1:], density.likelihood(x[1:], torch.tensor([1])))


def test_learns_a_distribution(generator):
    """Bits per symbol come near the entropy of rounded Laplace symbols."""
    density = FactorizedDensity(1, 1)
    draws = torch.distributions.Laplace(3.0, 1.5)
    optimiser = torch.optim.Adam(density.parameters(), lr=0.03)
    point = torch.zeros(1, dtype=torch.long)
    for _ in range(300):
        noisy = draws.sample((1, 1, 2000)).round()
        bits = -density.likelihood(noisy, point).log2().mean()
        optimiser.zero_grad()
        bits.backward()
        optimiser.step()
    k = torch.arange(-60.0, 61)
    exact = draws.cdf(k + 0.5) - draws.cdf(k - 0.5)
    entropy = -(exact * exact.clamp_min(1e-12).log2()).sum()
    assert entropy - 0.1 < bits < entropy + 0.15
    assert density.median().item() == pytest.approx(3.0, abs=0.3)
