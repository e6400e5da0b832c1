import json

import pytest

from raccoon_training.labels import class_indexes, folder_indexes


def test_positions_in_a_list(tmp_path):
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps([{"wnid": wnid, "name": wnid} for wnid in ("n02", "n01")]))
    assert class_indexes(classes, ["n01", "n02", "n01"]).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="has no n03"):
        class_indexes(classes, ["n01", "n03"])


def test_positions_among_the_folders():
    assert folder_indexes(["n02", "n01", "n05", "n02"], 3).tolist() == [1, 0, 2, 1]
    with pytest.raises(ValueError, match=r"lie in 2 folders and the network has 1000 classes: --classes"):
        folder_indexes(["n01", "n02"], 1000)
