"""A crate registry in a directory, so that scenarios have registry crates without a network."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path


class LocalRegistry:
    """What cargo calls a local registry: crate archives and an index beside them.

    Args:
        root: an empty or absent directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "index").mkdir(parents=True)

    def publish(self, name: str, files: Mapping[str, str], *, version: str = "1.0.0") -> None:
        """Add a crate without dependencies.

        Args:
            name: at least four letters, without dashes.
            files: its sources, Cargo.toml included.
            version: must be the manifest's.
        """
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path, text in files.items():
                entry = tarfile.TarInfo(f"{name}-{version}/{path}")
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        body = packed.getvalue()
        (self.root / f"{name}-{version}.crate").write_bytes(body)
        row = {"name": name, "vers": version, "deps": [], "features": {}, "yanked": False}
        row["cksum"] = hashlib.sha256(body).hexdigest()
        # Names of four letters and more lie two levels deep: ab/cd/abcdef.
        place = self.root / "index" / name[:2] / name[2:4] / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(row) + "\n")

    def serve(self, cargo_home: Path) -> None:
        """Make it the source of every registry crate for one CARGO_HOME."""
        cargo_home.mkdir(parents=True, exist_ok=True)
        (cargo_home / "config.toml").write_text(
            '[source.crates-io]\nreplace-with = "local"\n\n'
            f"[source.local]\nlocal-registry = {json.dumps(str(self.root))}\n"
        )
