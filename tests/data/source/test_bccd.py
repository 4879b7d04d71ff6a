"""BCCD from a small file of its layout, and what is said of files that are missing or damaged."""

import io

import numpy as np
import pytest

import mtl_jax as mtl

pytest.importorskip("PIL")


def jpeg(grey):
  from PIL import Image

  file = io.BytesIO()
  Image.fromarray(np.full((12, 16, 3), grey, np.uint8)).save(file, "JPEG")
  return np.frombuffer(file.getvalue(), np.uint8)


@pytest.fixture
def arrays():
  jpegs = [jpeg(grey) for grey in (10, 20, 30, 40)]
  boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0.2, 0.2, 0.2, 0.4], [0.1, 0.1, 0.9, 0.9]], np.float32)
  return {
    "rgb_jpeg": np.concatenate(jpegs),
    "rgb_off": np.cumsum([0, *map(len, jpegs)]),
    "boxes": boxes,
    "cls": np.array([0, 2, 1, 1], np.uint8),
    "box_off": np.array([0, 2, 2, 3, 4]),
    "split": np.array([2, 0, 0, 1], np.uint8),
  }


@pytest.fixture
def write(tmp_path):
  def written(arrays):
    (tmp_path / "bccd").mkdir()
    np.savez(tmp_path / "bccd" / "bccd_192x256.npz", **arrays)
    return tmp_path

  return written


def test_parts_and_boxes(write, arrays):
  found = mtl.data.source.bccd(write(arrays))
  assert {part: len(own["x"]) for part, own in found.items()} == {"train": 2, "valid": 1, "test": 1}
  test, train = found["test"], found["train"]
  assert test["x"].shape == (1, 12, 16, 3) and test["x"].dtype == np.uint8 and abs(int(test["x"][0, 0, 0, 0]) - 10) < 3
  assert test["boxes"].shape == (1, 30, 4) and test["kinds"][0, :3].tolist() == [0, 2, -1]
  np.testing.assert_array_equal(test["boxes"][0, :2], arrays["boxes"][:2])
  assert (train["kinds"] == -1).all()  # one image without boxes, and one whose box has no area
  task = mtl.tasks.detection("kinds", 3)
  for part, own in found.items():
    task.check(part, own)


def test_no_place_and_no_file(tmp_path, monkeypatch):
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)
  with pytest.raises(mtl.UserError, match="set MTL_JAX_DATA to the directory D"):
    mtl.data.source.bccd()
  with pytest.raises(mtl.UserError, match="BCCD is not at .*bccd_192x256.npz: make it of https"):
    mtl.data.source.bccd(tmp_path)


def test_damaged_files(write, arrays):
  place = write({key: values for key, values in arrays.items() if key != "split"})
  with pytest.raises(mtl.UserError, match="BCCD at .*npz has no split, expected the arrays"):
    mtl.data.source.bccd(place)
  (place / "bccd" / "bccd_192x256.npz").write_bytes(b"PK no zip")
  with pytest.raises(mtl.UserError, match="cannot read .*npz") as error:
    mtl.data.source.bccd(place)
  assert "\n" not in str(error.value)


def test_a_damaged_photograph_is_named(write, arrays):
  jpegs = arrays["rgb_jpeg"].copy()
  jpegs[arrays["rgb_off"][2] :][:20] = 0
  with pytest.raises(mtl.UserError, match="image 2 cannot be read"):
    mtl.data.source.bccd(write({**arrays, "rgb_jpeg": jpegs}))
