"""A model that a directory holds alone, in a file of safetensors: its arrays by their paths."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core.errors import UserError
from mtl_jax._core.files import using
from mtl_jax._core.tensors import tensor_bytes, tensors_in
from mtl_jax.train._leaves import check_kinds, kinds, named_leaves, path_of, tree_of
from mtl_jax.train.checkpoint import shapes_of
from mtl_jax.train.run_dir import Model, read_model

FILE = "model.safetensors"
_PARTS = ("params", "state")


def model(run_dir: Path, make: Callable[[], tuple[Any, Any]], warn: Callable[[str], None]) -> tuple[int, Any, Any]:
  """The step, the parameters and the state.

  Args:
    run_dir: The directory.
    make: Gives parameters and state of such a model; it is traced, not run.
    warn: Is told nothing.

  Returns:
    The three.

  Raises:
    UserError: The file cannot be read, is another, or holds another model.
  """
  said, arrays = _read(run_dir)
  trees: dict[str, Any] = dict(zip(_PARTS, shapes_of(make), strict=True))
  leaves = _leaves(trees)
  check_kinds(str(run_dir / FILE), kinds(arrays), kinds({path_of(name): leaf for name, leaf in leaves.items()}))
  device = jax.local_devices()[0]
  # Copies: a step may be given its parameters to overwrite.
  found = {name: jax.device_put(jnp.array(arrays[path_of(name)]), device) for name in leaves}
  params, state = (tree_of(found, tree, part) for part, tree in trees.items())
  return said.step, params, state


def weights(run_dir: Path, warn: Callable[[str], None]) -> dict[str, Any]:
  """Its arrays by their paths.

  Args:
    run_dir: The directory.
    warn: Is told nothing.

  Returns:
    `{path: array}`.

  Raises:
    UserError: The file cannot be read, or is another.
  """
  return _read(run_dir)[1]


def content_of(params: Any, state: Any) -> bytes:
  """The file that holds these.

  Raises:
    UserError: Two arrays have one path, or the package is missing.
  """
  leaves = _leaves(dict(zip(_PARTS, (params, state), strict=True)))
  arrays = {path_of(name): leaf for name, leaf in leaves.items()}
  if len(arrays) < len(leaves):
    raise UserError("two arrays of the model have one path: no name may hold a slash.")
  return tensor_bytes(arrays)


def _leaves(trees: Mapping[str, Any]) -> dict[str, Any]:
  return {name: leaf for part, tree in trees.items() for name, leaf in named_leaves(tree, part).items()}


def _read(run_dir: Path) -> tuple[Model, dict[str, Any]]:
  said, path = read_model(run_dir), run_dir / FILE
  assert said is not None
  with using(path):
    content = path.read_bytes()
  if hashlib.sha256(content).hexdigest() != said.sha256:
    raise UserError(f"{path} is damaged, or of another model: its SHA-256 is not that of config.json: get it anew.")
  return said, tensors_in(path, content)
