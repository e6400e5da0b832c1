import numpy as np
import pytest
import torch

from raccoon_training.entropy_model import FactorizedDensity
from raccoon_training.tables import REACH, TOTAL, build_tables, pool_tables, quantise_probabilities


def random_probabilities(seed: int) -> np.ndarray:
    """2 to 514 entries, from flat to nearly all in one place, some far below one count."""
    random = np.random.default_rng(seed)
    size = int(random.choice([2, 3, int(random.integers(4, 60)), 2 * REACH + 2]))
    return random.dirichlet(np.full(size, 10 ** random.uniform(-2, 2))) + 1e-12


@pytest.mark.parametrize("seed", range(200))
def test_quantised_probabilities(seed):
    probabilities = random_probabilities(seed)
    frequencies = quantise_probabilities(probabilities)
    assert frequencies.sum() == TOTAL and frequencies.min() >= 1
    # near-optimal: the cost over the entropy is below the bound that the docstring gives
    p = probabilities / probabilities.sum()
    excess = (p * np.log2(p * TOTAL / frequencies)).sum()
    assert excess + 1e-9 >= 0 and excess <= np.log2(TOTAL / (TOTAL - len(p)))


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.5, 0.5], [32768, 32768]),
        ([1, 0], [65535, 1]),
        ([0, 0, 1], [1, 1, 65534]),
        ([3, 1], [49152, 16384]),  # need not be normalised
        ([1, 1, 1], [21846, 21845, 21845]),  # first come, first served
    ],
)
def test_quantised_exactly(probabilities, expected):
    assert quantise_probabilities(np.array(probabilities, float)).tolist() == expected


def test_tables_follow_the_density():
    density = FactorizedDensity(2, 3)
    median = density.median()
    tables = build_tables(density, median)
    assert len(tables) == 6
    for cell, (offset, frequencies) in enumerate(tables):
        p, c = divmod(cell, 3)
        assert frequencies.sum() == TOTAL and frequencies.min() >= 1
        symbols = torch.arange(offset, offset + len(frequencies) - 1)
        steps = (median[p, c] + symbols).expand(1, 3, -1)
        likelihood = density.likelihood(steps, torch.tensor([p]))[0, c].detach().numpy()
        assert np.abs(frequencies[:-1] / TOTAL - likelihood).max() < 1e-3
        assert offset < 0 < offset + len(frequencies) - 2  # the centre is inside
        assert frequencies[-1] / TOTAL < 1e-3  # the escape is rare


def test_wide_density_stays_within_reach():
    density = FactorizedDensity(1, 1, init_scale=4000.0)
    ((offset, frequencies),) = build_tables(density, density.median())
    assert offset == -REACH and len(frequencies) == 2 * REACH + 2
    assert frequencies[-1] > 0.2 * TOTAL  # what lies beyond takes the escape


def test_pool_keeps_one_of_each():
    a, b = np.array([1, 65535]), np.array([2, 65534])
    pool, index = pool_tables([(0, a), (0, b), (1, a), (0, a.copy())])
    assert [(offset, f.tolist()) for offset, f in pool] == [(0, [1, 65535]), (0, [2, 65534]), (1, [1, 65535])]
    assert index.tolist() == [0, 1, 2, 0]
