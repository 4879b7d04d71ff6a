"""Users' own files: those of a kind in a folder, read one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtl_jax._core.errors import UserError


class Kind(NamedTuple):
  """A kind of files.

  Attributes:
    suffixes: Of those that count in a folder, in small letters.
    called: What they are, for messages, such as `"images"`.
    advice: What to give, for messages.
    use: What is done to them, for messages: `"read"` or `"used"`.
  """

  suffixes: Collection[str]
  called: str
  advice: str
  use: str


def read_each(
  path: str | Path, kind: Kind, one: Callable[[Path], np.ndarray], warn: Callable[[str], None] | None
) -> dict[str, np.ndarray]:
  """What is read of a file, or of the files of a folder and of the folders in it, in the order of their names.

  Args:
    path: The file or the folder.
    kind: What files count.
    one: Reads one; raises a `UserError` where it cannot be used.
    warn: Is told of each that cannot, which is then left out; None: that is an error.

  Returns:
    `{name: array}`, names relative to the folder.

  Raises:
    UserError: There is nothing there, no such file, or none that can be used; or the first that cannot.
  """
  path = Path(path)
  files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix.lower() in kind.suffixes)
  if not files:
    raise UserError(f"{path} {f'has no {kind.called}' if path.is_dir() else 'is not there'}: {kind.advice}.")
  found: dict[str, np.ndarray] = {}
  for file in files:
    try:
      found[file.name if file == path else str(file.relative_to(path))] = one(file)
    except UserError as error:
      if warn is None:
        raise
      warn(str(error))
  if not found:
    raise UserError(f"{path}: none of {len(files)} {kind.called} can be {kind.use}.")
  return found
