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


def test_normal_noise_is_of_the_place_and_the_step():
    noise, same = Noise(1, 7, [3, 5]), Noise(1, 7, [5])
    values, strengths = noise.normal((3, 40, 40)), noise.strengths()
    assert torch.equal(values[1:], same.normal((3, 40, 40))) and torch.equal(strengths[1:], same.strengths())
    assert abs(float(values.mean())) < 0.05 and abs(float(values.std()) - 1) < 0.05
    assert not torch.equal(values[0], values[1]) and ((strengths >= 0) & (strengths < 1)).all()
    assert not torch.equal(values, Noise(1, 8, [3, 5]).normal((3, 40, 40)))
    many = Noise(1, 0, range(400)).strengths()
    assert many.min() < 0.05 and many.max() > 0.95 and abs(float(many.mean()) - 0.5) < 0.05
