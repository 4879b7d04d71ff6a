"""Arrays by name in the format of safetensors, which holds them and nothing else: as bytes, and back."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError, reason
from mtl_jax._core.extras import extra

_DTYPES = {
  **{"BF16": jnp.bfloat16, "F16": np.float16, "F32": np.float32, "F64": np.float64, "C64": np.complex64, "BOOL": bool},
  **{"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64},
  **{"U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64},
}


def tensors_in(path: Path, content: bytes) -> dict[str, np.ndarray]:
  """The arrays of a file with that content; its path is for messages.

  Raises:
    UserError: It is no such file, or the package is missing.
  """
  package = _package("safetensors")
  try:
    # The package's own reader into numpy knows no bfloat16.
    found = {name: (_DTYPES[info["dtype"]], info) for name, info in package.deserialize(content)}
    return {name: np.frombuffer(info["data"], dtype).reshape(info["shape"]) for name, (dtype, info) in found.items()}
  except Exception as error:  # an error of its own, or a dtype that is not known
    raise UserError(f"{path} is no file of safetensors that can be read ({reason(error)}): get it anew.") from error


def tensor_bytes(arrays: Mapping[str, Any]) -> bytes:
  """The content of a file that holds these arrays."""
  # In C order: arrays of another are stored wrong without a word.
  on_host = {name: np.asarray(jax.device_get(leaf), order="C") for name, leaf in arrays.items()}
  return _package("safetensors.numpy").save(on_host)


def _package(name: str) -> Any:
  with extra("safetensors", "files of safetensors need a package"):
    return importlib.import_module(name)
