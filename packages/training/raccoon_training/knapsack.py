"""The multiple-choice knapsack, exactly: of every item one option, the most value within a budget of whole numbers.

Pruning as in MDP (arXiv 2406.12079), whose mixed-integer programme becomes this one where no item changes the cost of
another, as the residual blocks of our encoder: block b takes a hidden width, its value is the sum of the importances
that it keeps, its cost the time that the device needs for a block of that width.
"""

from collections.abc import Sequence

import numpy as np


def choose(values: Sequence[Sequence[float]], costs: Sequence[Sequence[int]], budget: int) -> list[int]:
    """The option of each item with the greatest sum of values whose sum of costs is at most `budget`.

    values, costs: [item][option], costs whole and not negative. Of equally good choices the cheapest. Dynamic programme
    over (item, cost spent): items x options x budget steps. Raises ValueError if nothing fits.
    """
    least = sum(min(of_item) for of_item in costs)
    if least > budget:
        raise ValueError(f"the cheapest choice costs {least}, more than {budget}")
    best = np.full(budget + 1, -np.inf)  # [spent]: the most value of the items so far, for exactly so much
    best[0] = 0
    taken = np.empty(
        (len(values), budget + 1), dtype=np.int64
    )  # [item][spent]: the option of the best way to get there
    for item, (item_values, item_costs) in enumerate(zip(values, costs, strict=True)):
        ways = np.full((len(item_costs), budget + 1), -np.inf)
        for option, (value, cost) in enumerate(zip(item_values, item_costs, strict=True)):
            if cost <= budget:
                ways[option, cost:] = best[: budget + 1 - cost] + value
        taken[item] = ways.argmax(0)
        best = ways.max(0)
    spent, options = int(best.argmax()), []  # argmax is the first of equals
    for item in reversed(range(len(values))):
        options.append(int(taken[item, spent]))
        spent -= costs[item][options[-1]]
    return options[::-1]
