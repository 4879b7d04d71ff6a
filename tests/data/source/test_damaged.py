"""Files of known data sets that were cut off or hold other bytes are told in one line, with the file."""

import gzip

import numpy as np
import pytest

from mtl_jax import UserError
from mtl_jax.data import source

FILES = {
  "bccd": ("bccd", "bccd/bccd_192x256.npz"),
  "mnist": ("mnist", "mnist/mnist.npz"),
  "nyuv2": ("nyuv2", "nyuv2/nyuv2_96x128.npz"),
  "office31": ("office31", "office31/office31_64.npz"),
  "qm9": ("qm9", "qm9/qm9_20000.npz"),
  "tox21": ("molecules", "molecules/tox21.csv.gz"),
}
"""A source, and its file below `MTL_JAX_DATA`."""


@pytest.mark.parametrize("damage", ["cut", "other"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_told(name, damage, tmp_path):
  function, place = FILES[name]
  path = tmp_path / place
  path.parent.mkdir()
  if place.endswith(".npz"):
    np.savez(path, a=np.arange(1000))
  else:
    path.write_bytes(gzip.compress(b"smiles,a\nC,1\n" * 1000))
  path.write_bytes(path.read_bytes()[:-40] if damage == "cut" else b"not at all")
  words = [name] if function == "molecules" else []
  with pytest.raises(UserError, match=f"cannot read .*{path.name}.*get the file once more") as error:
    getattr(source, function)(*words, data_dir=str(tmp_path))
  assert "\n" not in str(error.value)
