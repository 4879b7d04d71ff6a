"""Archives of a version of the future, which `zipfile` refuses by an error of its own kind."""

import io

import numpy as np
import pytest

from mtl_jax import UserError
from mtl_jax._core.npz import read_npz
from mtl_jax.data.source.mapped_files import members
from mtl_jax.transfer import read_torch


@pytest.mark.parametrize(
  "read", [members, read_torch, lambda path: read_npz(path, ["x"]), lambda path: read_npz(path, ["x"], most=10**6)]
)
def test_a_zip_file_of_the_future_is_one_line(tmp_path, read):
  file = io.BytesIO()
  np.savez(file, x=np.arange(3))
  content = bytearray(file.getvalue())
  content[content.index(b"PK\x01\x02") + 6] = 200  # the version that is needed to read it
  path = tmp_path / "a.npz"
  path.write_bytes(content)
  with pytest.raises(UserError, match=rf"{path}.*"):
    read(path)
