import torch

from raccoon_training.noise import Noise


def test_uniform_around_zero():
    noise = Noise(1, 0, range(8))((4, 20, 20))
    assert noise.shape == (8, 4, 20, 20) and noise.min() >= -0.5 and noise.max() < 0.5
    assert noise.mean().abs() < 0.01 and abs(noise.std() - 12**-0.5) < 0.005


def test_an_image_has_the_same_noise_in_any_company():
    whole = Noise(1, 7, range(6))((3, 2, 2))
    assert torch.equal(Noise(1, 7, [4, 1])((3, 2, 2)), whole[[4, 1]])
    others = [Noise(2, 7, range(6)), Noise(1, 8, range(6))]
    assert not any((other((3, 2, 2)) == whole).any() for other in others)
    assert len(set(whole.flatten().tolist())) == whole.numel()


def test_order_is_common_to_all_images():
    assert torch.equal(Noise(1, 7, [0]).order(30), Noise(1, 7, [1]).order(30))
    assert Noise(1, 7, [0]).order(30).sort().values.tolist() == list(range(30))
    assert not torch.equal(Noise(1, 7, [0]).order(30), Noise(1, 8, [0]).order(30))
