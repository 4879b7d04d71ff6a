"""Office-31 from its file: images by domain and split, and what is said of files that are others."""

import io

import numpy as np
import pytest

from mtl_jax import UserError, data


def images():
  """Six images of one colour each."""
  from PIL import Image

  blobs = []
  for i in range(6):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), 40 * i, np.uint8)).save(buffer, "JPEG", quality=95)
    blobs.append(buffer.getvalue())
  return blobs


def words(*names):
  return np.frombuffer("\n".join(names).encode(), np.uint8)


def write(directory, **changed):
  blobs = images()
  arrays = {
    "jpeg": np.frombuffer(b"".join(blobs), np.uint8),
    "off": np.cumsum([0, *map(len, blobs)]),
    "domain": np.array([0, 0, 0, 1, 1, 1], np.uint8),
    "label": np.array([0, 1, 0, 1, 0, 1], np.uint8),
    "split": np.array([0, 1, 2, 2, 1, 0], np.uint8),
    "classes": words("bike", "mug"),
    "domains": words("amazon", "dslr"),
  }
  (directory / "office31").mkdir(exist_ok=True)
  kept = {key: value for key, value in (arrays | changed).items() if value is not None}
  np.savez(directory / "office31" / "office31_64.npz", **kept)
  return directory


def test_domains_and_splits(tmp_path):
  found = data.source.office31(write(tmp_path))
  assert found.classes == ("bike", "mug") and list(found.domains) == ["amazon", "dslr"]
  for domain, split, place, label in (("amazon", "valid", 1, 1), ("amazon", "test", 2, 0), ("dslr", "train", 5, 1)):
    part = found.domains[domain][split]
    assert part["x"].shape == (1, 4, 4, 3) and part["x"].dtype == np.uint8 and part["y"].tolist() == [label]
    assert abs(part["x"].astype(int) - 40 * place).max() <= 2


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"split": None}, "has no split, expected the arrays jpeg, off"),
    ({"label": np.full(6, 2, np.uint8)}, r"has label of shape \(6,\), expected \(6,\) in \[0, 2\)"),
    ({"domain": np.zeros(5, np.uint8)}, r"has domain of shape \(5,\), expected \(6,\)"),
    ({"jpeg": np.zeros(9000, np.uint8)}, "has a damaged image 0 .*: get the file anew"),
  ],
)
def test_another_file(tmp_path, changed, message):
  with pytest.raises(UserError, match=message):
    data.source.office31(write(tmp_path, **changed))


def test_no_file(tmp_path, monkeypatch):
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)
  with pytest.raises(UserError, match="set MTL_JAX_DATA=D with a file"):
    data.source.office31()
  with pytest.raises(UserError, match="Office-31 is not at .*office31_64.npz"):
    data.source.office31(tmp_path)
