from itertools import product

import numpy as np
import pytest

from raccoon_training.knapsack import choose


def best_value(values, costs, budget) -> float:
    """By trying everything."""
    return max(
        sum(of[option] for of, option in zip(values, options, strict=True))
        for options in product(*(range(len(of)) for of in values))
        if sum(of[option] for of, option in zip(costs, options, strict=True)) <= budget
    )


def total(table, options) -> float:
    return sum(of[option] for of, option in zip(table, options, strict=True))


@pytest.mark.parametrize("seed", range(30))
def test_equals_brute_force(seed):
    random = np.random.default_rng(seed)
    items, choices = int(random.integers(1, 6)), int(random.integers(2, 6))
    values = np.cumsum(random.random((items, choices)), 1).tolist()
    costs = random.integers(0, 40, (items, choices))  # a wider option may well be cheaper, as on real devices
    costs[:, 0] = 0
    costs = costs.tolist()
    for budget in (0, 7, 40, 95, 200):
        options = choose(values, costs, budget)
        assert total(costs, options) <= budget
        assert total(values, options) == pytest.approx(best_value(values, costs, budget))


def test_more_budget_is_never_worse():
    random = np.random.default_rng(1)
    values = np.cumsum(random.random((8, 11)), 1).tolist()
    costs = np.cumsum(random.integers(0, 60, (8, 11)), 1).tolist()
    found = [total(values, choose(values, costs, budget)) for budget in range(sum(of[0] for of in costs), 3000, 37)]
    assert found == sorted(found) and found[-1] > found[0]


def test_of_equals_the_cheapest():
    assert choose([[1.0, 1.0]], [[5, 3]], 9) == [1]


def test_nothing_fits():
    with pytest.raises(ValueError, match="the cheapest choice costs 7, more than 6"):
        choose([[1.0], [1.0]], [[3], [4]], 6)
