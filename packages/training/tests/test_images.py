import io
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from raccoon_training.images import AUGMENT_DRAWS, augment, has_split, load_photos, normalise, read_photo


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


def write_shard(path: Path, photos: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in photos.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def test_corrupt_photos_are_named_skipped_and_counted(tmp_path, capsys):
    good, no_photo = encoded(noise(30, 40, 3), "JPEG"), b"not a photo at all"
    write_shard(tmp_path / "train-00.tar", {
        "train/n01/0.jpg": good, "train/n01/bad.jpg": no_photo, "train/n02/short.jpg": good[: len(good) // 2],
        "train/n02/empty.jpg": b"", "train/n03/1.jpg": good,
    })  # fmt: skip
    pixels, wnids = load_photos(tmp_path, "train")
    assert wnids == ["n01", "n03"] and torch.equal(pixels[0], pixels[1])
    told = capsys.readouterr().err
    for name in ("n01/bad.jpg", "n02/short.jpg", "n02/empty.jpg"):
        assert f"train-00.tar: train/{name}" in told
    assert "3 of 5 photos skipped" in told


def test_only_corrupt_photos(tmp_path):
    (tmp_path / "n01").mkdir()
    (tmp_path / "n01" / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="none of the 1 photos"):
        load_photos(tmp_path, "train")


@pytest.mark.parametrize("where", ["in a photo", "in a header", "between photos", "before the end blocks"])
def test_a_shard_cut_short(tmp_path, where):
    shard = tmp_path / "train-00.tar"
    write_shard(shard, {f"train/n01/{i}.png": encoded(noise(8, 8, 3)) for i in range(4)})
    with tarfile.open(shard) as tar:
        last = tar.getmembers()[-1]
    ends = {"in a photo": last.offset_data + 10, "in a header": last.offset + 100, "between photos": last.offset,
            "before the end blocks": last.offset_data + 512}  # fmt: skip
    shard.write_bytes(shard.read_bytes()[: ends[where]])
    with pytest.raises(ValueError, match=r"train-00\.tar is cut short after \d photos; fetch it again"):
        load_photos(tmp_path, "train")


def test_a_real_shard(shared):
    source = shared / "data" / "imagenet20"
    if not has_split(source, "train"):
        pytest.skip(f"no photos in {source}")
    pixels, wnids = load_photos(source, "train", 64)
    assert pixels.shape == (64, 3, 224, 224) and all(re.fullmatch(r"n\d{8}", wnid) for wnid in wnids)
    assert 20 < pixels.float().std((1, 2, 3)).mean() < 100


def test_no_photos(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no photos in .*: --data is a folder with train-\*\.tar shards"):
        load_photos(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere: --data is a folder with train-\*\.tar"):
        load_photos(tmp_path / "nowhere", "train")


def test_normalise():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(normalise(pixels), torch.tensor([-1.0, -0.6, 1.0]))


@pytest.mark.parametrize("size", [224, 160])
def test_augment_is_in_range_and_from_the_draws_alone(size):
    pixels = torch.from_numpy(noise(8, 3, 224, 224))
    draws = torch.rand(8, AUGMENT_DRAWS, generator=torch.Generator().manual_seed(1))
    x = augment(pixels, draws, size)
    assert x.shape == (8, 3, size, size) and x.abs().max() <= 1
    assert torch.equal(augment(pixels[5:], draws[5:], size), x[5:])
    assert not torch.equal(augment(pixels, draws.flip(0), size), x)


def test_a_third_keeps_the_whole_frame():
    """No crop, no flip, contrast 1, brightness 0: the photo itself."""
    pixels = torch.from_numpy(noise(1, 3, 224, 224))
    whole = torch.tensor([[0.9, 0.2, 0.1, 0.9, 0.3, 0.7, 0.5, 0.5]])
    torch.testing.assert_close(augment(pixels, whole), normalise(pixels), atol=1e-4, rtol=0)
