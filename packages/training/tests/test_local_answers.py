import numpy as np
import pytest
import torch

from raccoon_training.images import Photo, load_photos, normalise
from raccoon_training.local_answers import LocalAnswers, write_answers
from raccoon_training.mobilenet import load_mobilenet


@pytest.fixture(scope="module")
def photos(photo_folder, tmp_path_factory) -> list[Photo]:
    """Two good ones, and one that cannot be decoded."""
    bad = tmp_path_factory.mktemp("bad") / "bad.jpg"
    bad.write_bytes(b"no photo")
    good = sorted(photo_folder.glob("train/n01/*"))[:2]
    return [Photo("n01", path) for path in (*good, bad)]


@pytest.fixture(scope="module")
def answers(photos, random_weights, tmp_path_factory) -> LocalAnswers:
    path = tmp_path_factory.mktemp("answers") / "answers.npy"
    write_answers(path, load_mobilenet(random_weights), photos, torch.device("cpu"), bf16=False)
    return LocalAnswers(path, 3)


def test_over_the_whole_photo_it_is_the_networks_own_answer(answers, photo_folder, random_weights, capsys):
    assert answers.maps.shape == (3, 1000, 7, 7) and answers.maps.dtype == np.float16
    x = normalise(load_photos(photo_folder, "train", 2)[0])
    expected = load_mobilenet(random_weights)(x)
    # the mean of all places; at 4 x 4 of them it is near
    maps = torch.tensor(answers.maps[:2]).float()
    torch.testing.assert_close(maps.mean((2, 3)), expected, rtol=1e-2, atol=1e-2 * float(expected.abs().max()))
    told = answers(torch.tensor([0, 1]), torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4))
    assert (told - expected).square().mean() < 0.2 * expected.var()
    assert not answers.maps[2].any()


def test_a_crop_has_the_answer_of_its_place(tmp_path):
    """A map that says how far right and how far down a place is."""
    right, down = torch.meshgrid(torch.arange(7) / 7 + 1 / 14, torch.arange(7) / 7 + 1 / 14, indexing="xy")
    np.save(tmp_path / "answers.npy", torch.stack([right, down])[None].numpy().astype(np.float16))
    answers = LocalAnswers(tmp_path / "answers.npy", 1)
    box = torch.tensor([[0.2, 0.4, 0.5, 0.3], [0.5, 0.1, 0.25, 0.8]])
    told = answers(torch.tensor([0, 0]), box)
    torch.testing.assert_close(told, box[:, :2] + box[:, 2:] / 2, rtol=0, atol=0.01)


def test_answers_to_other_photos(tmp_path):
    np.save(tmp_path / "answers.npy", np.zeros((2, 3, 7, 7), np.float16))
    with pytest.raises(ValueError, match="has answers to 2 photos, not 3; remove it"):
        LocalAnswers(tmp_path / "answers.npy", 3)
