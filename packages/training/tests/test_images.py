import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from raccoon_training.images import augment, has_split, load_photos, normalise, read_photo


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def test_photo_of_the_networks_size_is_not_resampled():
    pixels = noise(224, 224, 3)
    assert (read_photo(encoded(pixels)) == pixels.transpose(2, 0, 1)).all()


@pytest.mark.parametrize(("height", "width"), [(30, 40), (40, 30), (7, 301), (224, 225), (256, 256), (500, 333)])
def test_any_size_becomes_the_networks(height, width):
    photo = read_photo(encoded(noise(height, width, 3)))
    assert photo.shape == (3, 224, 224) and photo.dtype == np.uint8


def test_short_side_256_then_the_centre():
    """A photo of 512 x 1024 in four flat quarters: 256 x 512, of which columns 144 ... 368."""
    quarters = np.repeat(np.array([10, 80, 150, 220], np.uint8), 256)
    photo = read_photo(encoded(np.broadcast_to(quarters[None, :, None], (512, 1024, 3)).copy()))
    assert photo[0, 112, 0] == 80 and photo[0, 112, -1] == 150
    assert abs(int(np.argmax(photo[0, 0] > 115)) - 112) <= 1  # the middle edge stays in the middle


@pytest.mark.parametrize("shape", [(50, 50), (50, 50, 4)], ids=["grey", "with alpha"])
def test_everything_becomes_rgb(shape):
    assert read_photo(encoded(noise(*shape))).shape == (3, 224, 224)


def test_shards(tmp_path):
    photos = {f"n0{i % 2}/{i}.png": encoded(noise(224, 224, 3) // (i + 1)) for i in range(5)}
    for shard in range(2):
        with tarfile.open(tmp_path / f"train-0{shard}.tar", "w") as tar:
            folder = tarfile.TarInfo("train")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            for name, data in list(photos.items())[shard * 3 :][:3]:
                entry = tarfile.TarInfo(f"train/{name}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    pixels, wnids = load_photos(tmp_path, "train")
    assert wnids == ["n00", "n01", "n00", "n01", "n00"]
    for got, data in zip(pixels, photos.values(), strict=True):
        assert (got.numpy() == read_photo(data)).all()
    assert load_photos(tmp_path, "train", 4)[1] == wnids[:4]
    assert has_split(tmp_path, "train") and not has_split(tmp_path, "val")


def test_image_folder(photo_folder):
    pixels, wnids = load_photos(photo_folder, "train")
    assert pixels.shape == (6, 3, 224, 224) and pixels.dtype == torch.uint8
    assert wnids == ["n01"] * 3 + ["n02"] * 3
    assert load_photos(photo_folder, "val")[1] == ["n01", "n02", "n03"]
    # a folder of classes without splits is every split
    assert load_photos(photo_folder / "train", "val")[1] == wnids
    assert has_split(photo_folder, "val") and not has_split(photo_folder, "test")


def test_no_photos(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected train-\*\.tar"):
        load_photos(tmp_path, "train")


def test_normalise():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(normalise(pixels), torch.tensor([-1.0, -0.6, 1.0]))


def test_augment_is_seeded_and_stays_in_range():
    pixels = torch.from_numpy(noise(8, 3, 224, 224))
    a, b, c = (augment(pixels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert a.shape == pixels.shape and a.abs().max() <= 1
    assert torch.equal(a, b) and not torch.equal(a, c)
