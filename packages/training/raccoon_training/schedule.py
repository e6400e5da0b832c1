"""What changes in the course of a training run: learning rate, image size."""

import math

STRIDE = 32  # px; both networks take multiples of this


def learning_rate(step: int, steps: int, warmup: int, cooldown: int, peak: float) -> float:
    """Linear warm-up, constant, then linear to zero over the last `cooldown` steps.

    The constant part lets a resumed run be made longer or ended sooner without a wasted schedule.
    """
    return peak * min(1.0, (step + 1) / warmup, max(0.0, (steps - step) / cooldown))


def image_size(progress: float, final: int, gamma: float) -> int:
    """Size in px at a share `progress` of the run, from gamma * final up to final: a multiple of 32.

    Half a cosine, as in H. Kong's RAT (PhD thesis, NTU 2023, eq. 5.15): with gamma = 0.5 a run costs 0.59
    of one at the final size.
    """
    size = final * (gamma + (1 - gamma) * (math.cos((progress + 1) * math.pi) + 1) / 2)
    return min(final, STRIDE * round(size / STRIDE))
