"""Where known data sets lie."""

from __future__ import annotations

import os
from pathlib import Path


def folder(data_dir: str | os.PathLike[str] | None) -> Path | None:
  """The directory given, or that of the environment variable `MTL_JAX_DATA`; None: there is neither."""
  directory = data_dir or os.environ.get("MTL_JAX_DATA")
  return Path(directory) if directory else None
