"""A bundle's folder: made beside its target, filled, described by its manifest, swapped in (docs/bundle.md)."""

import hashlib
import json
import re
import shutil
from pathlib import Path


def check_target(target: Path) -> None:
    """Raises ValueError for a folder name that no bundle may have, FileExistsError for a folder that is no bundle."""
    if not re.fullmatch("[a-z0-9][a-z0-9-]*", target.name):
        raise ValueError(f"'{target.name}' is no name for a bundle: lower-case letters, digits and dashes")
    if target.exists() and not (target / "manifest.json").exists():
        raise FileExistsError(f"{target} exists and is not a bundle; name another folder for --out")


def open_folder(target: Path) -> Path:
    """An empty folder beside the target: nobody ever sees half a bundle."""
    folder = target.with_name(f".{target.name}.new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def close_folder(folder: Path, manifest: dict, target: Path) -> int:
    """Adds sizes and hashes of the files to the manifest, writes it, swaps the folder in; returns its bytes."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    manifest["files"] = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in files
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
    return sum(path.stat().st_size for path in target.iterdir())
