"""What is predicted of examples as lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path

from mtl_jax._core.files import replacing, using
from mtl_jax.recipes._recipe import Predicted


def write_lines(path: Path, predicted: Predicted) -> None:
  """Writes a line of JSON per example; numbers that are not finite as null.

  Args:
    path: The file.
    predicted: The examples.

  Raises:
    UserError: The file cannot be written.
  """
  with using(path), replacing(path) as partial, partial.open("w") as file:
    file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in predicted.records())
