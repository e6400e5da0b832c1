import io

import numpy as np
import pytest
import torch
from PIL import Image

from raccoon_training.crops import Crops, random_crop
from raccoon_training.images import Photo


def encoded(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def ramp(height: int, width: int) -> np.ndarray:
    """Red says how far right a pixel is, green how far down."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([red, green, np.zeros_like(red)], 2).round().astype(np.uint8)


def test_parts_of_the_photo():
    """8 to 100 % of the area, sides as 3:4 to 4:3, half of them mirrored, everywhere in the photo."""
    photo, random = encoded(ramp(200, 240)), np.random.default_rng(1)
    crops = np.stack([random_crop(photo, 32, random)[0] for _ in range(300)]).astype(float)
    assert crops.shape == (300, 3, 32, 32)
    across, down = crops[:, 0].mean(1), crops[:, 1].mean(2)  # (300, 32)
    mirrored = across[:, -1] < across[:, 0]
    assert 0.4 < mirrored.mean() < 0.6
    width = np.abs(across[:, -1] - across[:, 0]) / 255 * 240 * 32 / 31
    height = (down[:, -1] - down[:, 0]) / 255 * 200 * 32 / 31
    area, aspect = width * height / (200 * 240), width / height
    assert 0.07 < area.min() < 0.15 and 0.85 < area.max() < 1.05
    assert 0.70 < aspect.min() < 0.80 and 1.25 < aspect.max() < 1.42
    assert across.mean(1).std() > 25 and down.mean(1).std() > 20


@pytest.mark.parametrize(("height", "width"), [(4, 300), (300, 4), (1, 1)])
def test_photos_that_no_crop_fits(height, width):
    crop, box = random_crop(encoded(ramp(height, width)), 32, np.random.default_rng(1))
    assert crop.shape == (3, 32, 32) and crop.dtype == np.uint8
    assert (box >= 0).all() and (box[:2] + box[2:] <= 1).all()


def test_a_crop_says_where_it_is():
    """Its colours are those of the box; no smaller than the area that was asked for."""
    photo, random = encoded(ramp(200, 240)), np.random.default_rng(1)
    for _ in range(20):
        crop, (left, top, width, height) = random_crop(photo, 32, random, (0.5, 1))
        assert crop[0].mean() == pytest.approx(255 * (left + width / 2), abs=2)
        assert crop[1].mean() == pytest.approx(255 * (top + height / 2), abs=2)
        assert 0.48 < width * height <= 1


@pytest.fixture
def photos(photo_folder) -> list[Photo]:
    return [Photo(path.parent.name, path) for path in sorted(photo_folder.glob("train/*/*"))]


def test_from_seed_epoch_and_number_alone(photos):
    labels = torch.arange(6)
    crops = Crops(photos, labels, 1, 0, 64)
    pixels, box, label, photo, skipped = crops[4]
    assert pixels.shape == (3, 64, 64) and pixels.dtype == torch.uint8 and label == photo == 4 and skipped == 0
    again = Crops(photos, labels, 1, 0, 64)[4]
    assert torch.equal(again.pixels, pixels) and torch.equal(again.box, box)
    assert not any(torch.equal(Crops(photos, labels, *other, 64)[4][0], pixels) for other in ((1, 1), (2, 0)))


def test_a_corrupt_photo_among_good_ones(photos, tmp_path, capsys):
    """It is named and counted, and the next one takes its place, with its own label."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(photos[5].read()[:200])
    photos = [*photos[:5], Photo("n02", bad)]
    crop = Crops(photos, torch.arange(6), 1, 0, 64)[5]
    assert crop.label == crop.photo == 0 and crop.skipped == 1 and crop.pixels.float().std() > 1
    assert f"skipped {bad}: " in capsys.readouterr().err
    with pytest.raises(ValueError, match="none of the 1 photos can be decoded"):
        Crops(photos[5:], torch.arange(1), 1, 0, 64)[0]
