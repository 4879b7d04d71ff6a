"""NYUv2 from a small file: what its arrays become, the normals of planes, and what is said of damaged files."""

import io
import os

import numpy as np
import pytest

import mtl_jax as mtl

image = pytest.importorskip("PIL.Image")
SHAPE = (3, 24, 32)
RNG = np.random.default_rng(0)
COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)
NAMES = ("bed", "chair", "wall")


def arrays():
  files = []
  for colour in COLOURS:
    file = io.BytesIO()
    image.fromarray(np.broadcast_to(colour, (*SHAPE[1:], 3)).copy()).save(file, "JPEG", quality=95)
    files.append(np.frombuffer(file.getvalue(), np.uint8))
  table = np.full(256, 255, np.uint8)
  table[:4] = [2, 0, 1, 2]
  kinds = RNG.integers(0, 4, SHAPE).astype(np.uint8)
  kinds[:, 0] = 255
  return {
    "rgb_jpeg": np.concatenate(files),
    "rgb_off": np.cumsum([0, *map(len, files)]),
    "seg40": kinds,
    "depth_u8": np.full(SHAPE, 51, np.uint8),
    "split": np.array([0, 1, 0], np.uint8),
    "names13": np.frombuffer("\n".join(NAMES).encode(), np.uint8),
    "lut40to13": table,
  }


def read(folder, **changed):
  (folder / "nyuv2").mkdir(exist_ok=True)
  stored = {key: value for key, value in {**arrays(), **changed}.items() if value is not None}
  np.savez(folder / "nyuv2" / "nyuv2_96x128.npz", **stored)
  return mtl.data.source.nyuv2(folder)


def test_arrays(tmp_path, monkeypatch):
  given = arrays()
  found = read(tmp_path, **given)
  assert np.abs(found.images.astype(int) - COLOURS[:, None, None]).max() < 6 and found.images.dtype == np.uint8
  np.testing.assert_array_equal(found.classes, np.array([2, 0, 1, 2] + [-1] * 252)[given["seg40"]])
  np.testing.assert_array_equal(found.depth, np.full(SHAPE, 2, np.float32))
  assert (found.is_test.tolist(), found.names) == ([False, True, False], NAMES)
  assert (found.classes.dtype, found.depth.dtype, found.normals.dtype) == (np.int8, np.float32, np.float32)
  monkeypatch.setenv("MTL_JAX_DATA", os.fspath(tmp_path))
  assert mtl.data.source.nyuv2().names == NAMES


def test_normals_of_planes(tmp_path):
  """A wall in front faces the camera; a floor, whose depth falls from row to row, faces up; a wall aside faces away."""
  down, across = np.mgrid[: SHAPE[1], : SHAPE[2]]
  scale = SHAPE[2] / 624
  y = (down - (253.74 - 6) * scale) / (518.86 * scale)
  x = (across - (325.58 - 8) * scale) / (518.86 * scale)
  # Planes n . P = -d seen along rays (x, y, 1): the depth is -d / (n . ray).
  planes = np.array([[0, 0, -1.0], [0, -0.6, -0.8], [0.28, 0, -0.96]])
  depth = np.stack([-4 / (n[0] * x + n[1] * y + n[2]) for n in planes])
  depth = np.round(25.5 * depth)
  assert depth.min() > 0 and depth.max() < 256
  depth[0, 5:8, 5:8] = 0
  found = read(tmp_path, depth_u8=depth.astype(np.uint8))
  assert not found.normals[0, 5:8, 5:8].any() and not found.depth[0, 5:8, 5:8].any()
  known = found.depth > 0
  np.testing.assert_allclose(np.linalg.norm(found.normals[known], axis=-1), 1, rtol=1e-5)
  inner = known.copy()
  inner[:, [*range(6), *range(-6, 0)]] = inner[:, :, [*range(6), *range(-6, 0)]] = False  # the filter bends the edges
  for own, inside, plane in zip(found.normals, inner, planes, strict=True):
    cosines = own[inside] @ plane
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean() < 6  # depth is rounded to four centimetres


@pytest.mark.parametrize(
  ("changed", "line"),
  [
    ({"seg40": None}, "NYUv2 at .* has no seg40, expected the arrays rgb_jpeg"),
    ({"seg40": np.zeros((3, 5, 7), np.uint8)}, r"seg40 has shape \(3, 5, 7\), expected \(3, 24, 32\)"),
    ({"split": np.zeros(2, np.uint8)}, r"split has shape \(2,\), expected \(3,\)"),
    ({"names13": np.frombuffer(b"bed", np.uint8)}, "seg40 has class 2 of 13, but names13 only 1 names"),
    ({"rgb_jpeg": np.zeros(9000, np.uint8)}, "nyuv2_96x128.npz: image 0 cannot be read"),
  ],
)
def test_damaged_files(tmp_path, changed, line):
  with pytest.raises(mtl.UserError, match=line) as error:
    read(tmp_path, **changed)
  assert "\n" not in str(error.value)


def test_no_file(tmp_path, monkeypatch):
  with pytest.raises(mtl.UserError, match="NYUv2 is not at .*: put there what help"):
    mtl.data.source.nyuv2(tmp_path)
  monkeypatch.delenv("MTL_JAX_DATA", raising=False)
  with pytest.raises(mtl.UserError, match="NYUv2 is not here: set MTL_JAX_DATA to a directory D that holds D/nyuv2/"):
    mtl.data.source.nyuv2()
