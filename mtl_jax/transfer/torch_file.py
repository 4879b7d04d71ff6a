"""Weights in files of PyTorch, without PyTorch."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError, reason
from mtl_jax._core.files import NO_ZIP, using
from mtl_jax.transfer._torch_pickle import Storage, Tensor, unpickle

_MAGIC = 0x1950A86A20F9469CFC6C  # what PyTorch's files began with before they were zip files
_PROTOCOL = 1001


def read_torch(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """The tensors of a file that `torch.save` has written of a `state_dict()`, of either format.

  PyTorch is not needed, and nothing in the file is executed: where it names anything but tensors and dictionaries, it
  is refused. Places and sizes of tensors are checked. A zip file, as PyTorch writes since 1.6, has a checksum of each
  part, which is checked; older files have none.

  Args:
    path: The file.

  Returns:
    The tensors by their names, those in dictionaries within joined by dots; what is no tensor is left out.

  Raises:
    UserError: The file cannot be read, is damaged, or holds what is no tensor, such as a whole module.
  """
  path = Path(path)
  with using(path):
    content = path.read_bytes()
  return tensors_in(path, content)


def tensors_in(path: Path, content: bytes) -> dict[str, np.ndarray]:
  """As `read_torch`, of what a file holds."""
  try:
    tree, read = _zipped(content) if zipfile.is_zipfile(io.BytesIO(content)) else _legacy(content)
    found = {name: tensor.of(name, read(tensor.storage)) for name, tensor in _tensors(tree).items()}
  except (UserError, zipfile.BadZipFile) as error:  # some zip files are damaged too much to be told from others
    raise UserError(f"{path} is no file of PyTorch's tensors that can be read: {error}.") from error
  if not found:
    raise UserError(f"{path} holds no tensors, expected a state_dict().")
  return found


def _tensors(tree: Any, place: str = "") -> dict[str, Tensor]:
  if isinstance(tree, Tensor):
    return {place: tree}
  if not isinstance(tree, Mapping):
    return {}
  found: dict[str, Tensor] = {}
  for key, value in tree.items():
    for name, tensor in _tensors(value, f"{place}.{key}" if place else str(key)).items():
      if name in found:
        raise UserError(f"two tensors have the name {name!r}")
      found[name] = tensor
  return found


def _zipped(content: bytes) -> tuple[Any, Callable[[Any], bytes]]:
  """What the file describes, and how the bytes of its storages are read."""
  try:
    archive = zipfile.ZipFile(io.BytesIO(content))
    (main,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
  except NO_ZIP as error:
    raise UserError(f"it is a zip file without one data.pkl ({reason(error)})") from error
  root = main.removesuffix("data.pkl")

  def member(name: str) -> bytes:
    try:
      if archive.getinfo(name).file_size > len(content):
        raise UserError(f"{name} in it is larger than the file")
      return archive.read(name)
    except UserError:
      raise
    except Exception as error:  # wrong checksums, missing parts, unknown compression
      raise UserError(f"{name} in it is damaged ({reason(error)})") from error

  if f"{root}byteorder" in archive.namelist() and member(f"{root}byteorder") != b"little":
    raise UserError("its numbers are big-endian: save it on a little-endian machine")
  return unpickle(io.BytesIO(member(main))), lambda storage: member(f"{root}data/{_key(storage)}")


def _legacy(content: bytes) -> tuple[Any, Callable[[Any], bytes]]:
  """The same of the older format: pickles, one after the other, then the storages."""
  stream = io.BytesIO(content)
  magic, protocol, system = (unpickle(stream) for _ in range(3))
  if (magic, protocol) != (_MAGIC, _PROTOCOL) or not isinstance(system, Mapping) or not system.get("little_endian"):
    raise UserError("it does not begin as they do")
  tree, keys = unpickle(stream), unpickle(stream)
  kinds = {tensor.storage.key: tensor.storage for tensor in _tensors(tree).values() if _key(tensor.storage)}
  if not isinstance(keys, list) or not set(kinds) <= {str(key) for key in keys}:
    raise UserError("it lacks storages of its tensors")
  buffers = {}
  for key in keys:
    if key not in kinds:
      raise UserError(f"it has a storage {key!r} of no tensor")
    count = int.from_bytes(stream.read(8), "little", signed=True)
    if count != kinds[key].length:
      raise UserError(f"the storage {key!r} has {count} numbers, expected {kinds[key].length}")
    buffers[key] = stream.read(count * kinds[key].dtype.itemsize)
  if stream.read(1):
    raise UserError("it is longer than what it describes")
  return tree, lambda storage: buffers[_key(storage)]


def _key(storage: Any) -> str:
  if not isinstance(storage, Storage):
    raise UserError(f"a tensor is of {str(storage)[:80]!r}, expected a storage")
  return storage.key
