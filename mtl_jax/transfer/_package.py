"""Weights that come as a package: where its files are, and that they are the right ones."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from mtl_jax._core.errors import UserError
from mtl_jax._core.files import using


def in_package(package: str, place: str) -> Path | None:
  """Where a file of a package is, None where it is not there; the package is not imported."""
  spec = importlib.util.find_spec(package.replace("-", "_"))
  files = (Path(folder) / place for folder in (spec and spec.submodule_search_locations) or ())
  return next((file for file in files if file.is_file()), None)


def content_of(file: Path, sha256: str, package: str) -> bytes:
  """What a file holds.

  Raises:
    UserError: It cannot be read, or is another one than that of this checksum.
  """
  with using(file):
    content = file.read_bytes()
  found = hashlib.sha256(content).hexdigest()
  if found != sha256:
    raise UserError(f"{file} has the SHA-256 {found[:8]}..., expected {sha256[:8]}...: install {package} anew.")
  return content
