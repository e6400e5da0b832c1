import pytest

from raccoon_training.schedule import image_size, learning_rate


def test_learning_rate():
    steps, warmup, cooldown, peak = 1000, 100, 200, 4e-3
    rates = [learning_rate(step, steps, warmup, cooldown, peak) for step in range(steps)]
    assert rates[0] == pytest.approx(peak / warmup) and rates[warmup - 1] == peak
    assert set(rates[warmup - 1 : steps - cooldown + 1]) == {peak}
    assert rates[steps - cooldown // 2] == pytest.approx(peak / 2) and rates[-1] == pytest.approx(peak / cooldown)
    assert rates[:warmup] == sorted(rates[:warmup]) and rates[-cooldown:] == sorted(rates[-cooldown:], reverse=True)


def test_images_grow():
    """H. Kong's thesis, table 5.11: the mean cost with gamma = 0.5 is 0.59 of a run at the full size."""
    sizes = [image_size(i / 200, 224, 0.5) for i in range(200)]
    assert sizes == sorted(sizes) and sizes[0] == 128 and sizes[-1] == 224  # 112 rounded to a multiple of 32
    assert {size % 32 for size in sizes} == {0}
    exact = [image_size(i / 200, 32 * 1000, 0.5) / 32_000 for i in range(200)]
    assert sum(r * r for r in exact) / 200 == pytest.approx(0.592, abs=0.002)
    assert {image_size(i / 10, 224, 1.0) for i in range(10)} == {224}
