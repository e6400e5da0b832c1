import json

import pytest

from raccoon_training.labels import class_indexes, folder_indexes, read_classes


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


def test_classes_of_a_file(tmp_path):
    """A list in the logits' order, or an object whose sorted wnids are."""
    (tmp_path / "list.json").write_text('[{"wnid": "n02", "name": "two", "more": 1}, {"wnid": "n01", "name": "one"}]')
    (tmp_path / "object.json").write_text('{"n02": "two", "n01": "one"}')
    one, two = {"wnid": "n01", "name": "one"}, {"wnid": "n02", "name": "two"}
    assert read_classes(tmp_path / "list.json") == [two, one]
    assert read_classes(tmp_path / "object.json", 2) == [one, two]
    assert class_indexes(tmp_path / "object.json", ["n02", "n01"]).tolist() == [1, 0]
    with pytest.raises(ValueError, match="has 2 classes, the network 3"):
        class_indexes(tmp_path / "object.json", [], 3)
    for text in ("[", "[1]", '{"a": 1', '[{"wnid": "n0"}]'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match="is no JSON list of"):
            read_classes(tmp_path / "bad.json")
