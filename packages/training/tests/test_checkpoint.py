from pathlib import Path

import pytest
import torch

from raccoon_training.checkpoint import load_average, read_checkpoint, write_checkpoint
from raccoon_training.model import SplitConfig, SplitModel


def test_there_and_back(config, tmp_path):
    model = SplitModel(config)
    write_checkpoint(tmp_path / "last.pt", {"average": model.state_dict(), "config": config.json(), "step": 7})
    loaded, state = load_average(tmp_path / "last.pt")
    assert state["step"] == 7 and loaded.config == config and not loaded.training
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_the_last_good_one(config, tmp_path):
    path = tmp_path / "last.pt"
    write_checkpoint(path, {"config": config.json(), "step": 7})
    path.with_suffix(".tmp").symlink_to("/dev/full")  # every write fails with ENOSPC
    with pytest.raises(OSError, match=r"cannot write .*last\.pt: No space left on device; the one before is intact"):
        write_checkpoint(path, {"config": config.json(), "step": 8})
    assert read_checkpoint(path, SplitConfig)["step"] == 7 and [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_damaged(config, tmp_path):
    path = tmp_path / "last.pt"
    write_checkpoint(path, {"config": config.json(), "step": 7})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged or no checkpoint"):
        read_checkpoint(path, SplitConfig)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="is damaged or no checkpoint"):
        read_checkpoint(path, SplitConfig)


def test_another_architecture(tmp_path):
    path = tmp_path / "last.pt"
    old = {"rate_weights": (1.6, 0.8), **SplitConfig().json()}
    torch.save({"config": old, "step": 7}, path)
    with pytest.raises(ValueError, match=r"last\.pt is of another architecture .*rate_weights.*--run"):
        read_checkpoint(path, SplitConfig)
