"""Parameters in files of safetensors: a format that holds arrays by name and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtl_jax._core.errors import UserError, nearest
from mtl_jax._core.files import replacing, using
from mtl_jax._core.frozen import Frozen
from mtl_jax._core.packed import unpacked
from mtl_jax._core.paths import by_path, compiled
from mtl_jax._core.tensors import tensor_bytes, tensors_in
from mtl_jax.transfer._filled import filled


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """The arrays of a file of safetensors.

  Args:
    path: The file.

  Returns:
    The arrays by their names.

  Raises:
    UserError: The file cannot be read or is no such file, or the package is missing.
  """
  path = Path(path)
  with using(path):
    content = path.read_bytes()
  return tensors_in(path, content)


def save_safetensors(
  path: str | os.PathLike[str], params: Any, only: Frozen | None = None, frozen: Frozen = ()
) -> list[str]:
  """Writes parameters, all of them or some, such as those that a training has changed; the whole file or nothing.

  Args:
    path: The file; one that is there is replaced.
    params: A tree of arrays. Its leaves are named by their paths, such as `shared/Dense_0/kernel`.
    only: Regular expressions, searched for in these paths: just these leaves are written; None: all.
    frozen: As in `fit`: leaves that match are not written, since a training has left them as they were.

  Returns:
    The names of those written.

  Raises:
    UserError: Two leaves have one name, nothing is left to write, a pattern is no regular expression, or the file
      cannot be written.

  >>> import tempfile, jax.numpy as jnp
  >>> params = {"shared": {"w": jnp.ones(2)}, "task": {"a": {"w": jnp.zeros(3)}}}
  >>> with tempfile.TemporaryDirectory() as directory:
  ...   names = save_safetensors(f"{directory}/heads.safetensors", params, only="task/")
  ...   again = load_into(jax.tree.map(jnp.ones_like, params), f"{directory}/heads.safetensors")
  >>> names, float(again["task"]["a"]["w"].sum())
  (['task/a/w'], 0.0)
  """
  path, params = Path(path), unpacked(params)
  leaves = by_path(params)
  if len(leaves) != len(jax.tree.leaves(params)):
    raise UserError("save_safetensors: two leaves have one path: no name may hold a slash.")
  chosen = [name for name in leaves if (only is None or _matches(only, name)) and not _matches(frozen, name)]
  if not chosen:
    raise UserError(f"save_safetensors: nothing is left to write with only={only!r} and frozen={frozen!r}.")
  content = tensor_bytes({name: leaves[name] for name in chosen})
  with using(path), replacing(path) as partial:
    partial.write_bytes(content)
  return chosen


def load_into(params: Any, path: str | os.PathLike[str]) -> Any:
  """Parameters with those in their place that a file of `save_safetensors` has.

  Args:
    params: A tree of arrays.
    path: The file.

  Returns:
    The tree; leaves that the file does not have are those given.

  Raises:
    UserError: The file cannot be read, or has a leaf that the tree has not, or of another shape.
  """
  given, params = read_safetensors(path), unpacked(params)
  known = by_path(params)
  for name in sorted(given):
    if name not in known:
      raise UserError(f"{path} has {name!r}, which is no parameter{nearest(name, known)}: load it into its own net.")
  return filled(params, given, str(path))


def _matches(patterns: Frozen, name: str) -> bool:
  found = [patterns] if isinstance(patterns, str) else patterns
  return any(compiled("save_safetensors", pattern).search(name) for pattern in found)
