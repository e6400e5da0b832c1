import pytest
import torch

from raccoon_training.mobilenet import load_mobilenet
from raccoon_training.teacher import Teacher, predict


@pytest.fixture
def network(random_weights):
    return load_mobilenet(random_weights)


@pytest.mark.parametrize("whole", [False, True])
def test_answers_are_the_networks_and_remembered(network, pictures, whole, monkeypatch):
    teacher = Teacher(network, bf16=False)
    teacher.forget(20)
    photo = torch.tensor([3, 19, 0])
    answer = teacher(pictures[:3], photo, whole)
    expected = predict(network, network.stem(pictures[:3]))
    assert len(answer.features) == (3 if whole else 1) and (answer.logits is not None) == whole
    for ours, theirs in zip(answer.features, expected.features, strict=False):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)

    asked = []
    ask = teacher._ask
    monkeypatch.setattr(teacher, "_ask", lambda x, whole: asked.append(len(x)) or ask(x, whole))
    again = teacher(pictures[[2, 0, 5]], torch.tensor([0, 3, 7]), whole)
    assert asked == [1]  # only the photo with the number 7 is new
    torch.testing.assert_close(again.features[0][:2], answer.features[0][[2, 0]], rtol=1e-3, atol=1e-4)
    if whole:
        torch.testing.assert_close(again.logits[:2], expected.logits[[2, 0]], rtol=1e-3, atol=1e-4)
    teacher.forget(20)
    teacher(pictures[:2], torch.tensor([0, 3]), whole)
    assert asked == [1, 2]

    fresh = Teacher(network, bf16=False, remembers=False)(pictures[:3], photo, whole)
    for ours, theirs in zip(fresh.features, answer.features, strict=True):
        assert torch.equal(ours, theirs)
    assert fresh.logits is None if not whole else torch.equal(fresh.logits, answer.logits)


def test_bfloat16_is_near(network, pictures):
    teacher = Teacher(network, bf16=True)
    teacher.forget(2)
    ours, exact = teacher(pictures[:2], torch.tensor([1, 0]), False).features[0], network.stem(pictures[:2])
    assert (ours - exact).square().mean() < 1e-3 * exact.var()
