"""Integer coding tables from the learned densities, made once at export.

    density (point, channel) -> probabilities of integers around the median -> frequencies, sum 65536

No float decides a probability at run time: what is written here is what both ends code with.
"""

import numpy as np
import torch

from .entropy_model import FactorizedDensity

TOTAL = 1 << 16  # frequencies of one table sum to this (16-bit probabilities)
REACH = 256  # symbols beyond +-REACH always take the escape
TAIL = 2.0**-15  # a tail of less probability than this is left to the escape


def quantise_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Frequencies >= 1 that sum to 65536: (K) float, the last one the escape -> (K) int.

    One count for every entry, the others in proportion (largest remainders). No symbol costs more than
    log2(65536 / (65536 - K)) bits over its ideal, 0.0004 with twenty entries.
    """
    share = probabilities / probabilities.sum() * (TOTAL - len(probabilities))
    frequencies = 1 + np.floor(share).astype(np.int64)
    largest = np.argsort(np.floor(share) - share, kind="stable")
    frequencies[largest[: TOTAL - frequencies.sum()]] += 1
    return frequencies


@torch.no_grad()
def build_tables(density: FactorizedDensity, median: torch.Tensor) -> list[tuple[int, np.ndarray]]:
    """(offset, frequencies) of every (point, channel) in row-major order; median (P, C) in steps."""
    points, channels = median.shape
    symbols = torch.arange(-REACH, REACH + 1, dtype=torch.float32)
    steps = median[:, :, None] + symbols  # (P, C, 2 REACH + 1)
    probability = density.likelihood(steps, torch.arange(points)).double().numpy()
    tables = []
    for p in range(points):
        for c in range(channels):
            pmf = probability[p, c]
            below = np.flatnonzero(np.cumsum(pmf) > TAIL)[0]
            above = len(pmf) - np.flatnonzero(np.cumsum(pmf[::-1]) > TAIL)[0]  # exclusive
            kept = pmf[below:above]
            escape = max(1.0 - kept.sum(), 1 / TOTAL)
            tables.append((int(below) - REACH, quantise_probabilities(np.append(kept, escape))))
    return tables


def pool_tables(tables: list[tuple[int, np.ndarray]]) -> tuple[list[tuple[int, np.ndarray]], np.ndarray]:
    """Equal tables stored once: the pool, and the index into it of every table given."""
    pool: dict[tuple, int] = {}
    index = [pool.setdefault((offset, tuple(freq.tolist())), len(pool)) for offset, freq in tables]
    return [(offset, np.array(freq)) for offset, freq in pool], np.array(index)
