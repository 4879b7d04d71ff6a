"""NYU Depth v2: rooms, with classes, depth and surface normals at every pixel."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.source._folder import arrays_of, folder
from mtl_jax.data.source._jpegs import decoded

_FILE = "nyuv2_96x128.npz"
_ARRAYS = ("rgb_jpeg", "rgb_off", "seg40", "depth_u8", "split", "names13", "lut40to13")
_IGNORED = 255
_PER_METRE = 25.5  # of the depths that are kept in 8 bits

# The camera of the original images of 640 x 480 in pixels, and the part of them that is left without their white frame.
_FOCAL, _CENTRE = 518.86, (325.58, 253.74)
_LEFT, _TOP, _WIDTH = 8, 6, 624


class NYUv2(NamedTuple):
  """The 1449 labelled images of NYU Depth v2, made smaller.

  Attributes:
    images: (N, H, W, 3) uint8.
    classes: (N, H, W) int8, the class of each pixel by its number in `names`, -1 where it has none.
    depth: (N, H, W) float32 in metres, 0 where it is not known.
    normals: (N, H, W, 3) float32, unit vectors that point right, down and away from the camera, computed from depth;
      zero where that is not known.
    is_test: (N,) whether an image is of the official test part.
    names: The names of the 13 classes.
  """

  images: np.ndarray
  classes: np.ndarray
  depth: np.ndarray
  normals: np.ndarray
  is_test: np.ndarray
  names: tuple[str, ...]


def nyuv2(data_dir: str | os.PathLike[str] | None = None) -> NYUv2:
  """Indoor scenes with 13 classes, depth and surface normals at each of 96 x 128 pixels: 795 to train, 654 to test on.

  Args:
    data_dir: A directory with a file `nyuv2/nyuv2_96x128.npz` that holds the N images as JPEGs one behind the other,
      `rgb_jpeg` and where each begins, `rgb_off` (N + 1,); `seg40` (N, H, W) uint8, classes, 255 where there is none,
      and `lut40to13` (256,), which of the 13 classes each is; `depth_u8` (N, H, W) uint8, depth in 1 / 25.5 metres, 0
      where it is not known; `split` (N,) 0 to train and 1 to test on; `names13`, the names of the classes as bytes,
      one a line. All are of the part of the original images from (8, 6) to (632, 474). None: that of the environment
      variable `MTL_JAX_DATA`.

  Returns:
    The images and their labels.

  Raises:
    UserError: No directory is given; the file is missing, or incomplete, or its arrays do not fit each other; Pillow is
      not installed.

  References:
    Silberman, Hoiem, Kohli, Fergus, *Indoor Segmentation and Support Inference from RGBD Images*, ECCV 2012.
    Couprie, Farabet, Najman, LeCun, *Indoor Semantic Segmentation using Depth Information*, 2013, for the 13 classes.
  """
  directory = folder(data_dir)
  if directory is None:
    raise UserError(f"NYUv2 is not here: set MTL_JAX_DATA to a directory D that holds D/nyuv2/{_FILE}.")
  path = directory / "nyuv2" / _FILE
  if not path.is_file():
    raise UserError(f"NYUv2 is not at {path}: put there what help(mtl.data.source.nyuv2) tells of.")
  data, offsets, kinds, depth, split, names, table = arrays_of("NYUv2", path, _ARRAYS).values()
  images = decoded(path, data, offsets)
  for name, found, expected in (
    ("seg40", kinds.shape, images.shape[:3]),
    ("depth_u8", depth.shape, images.shape[:3]),
    ("split", split.shape, images.shape[:1]),
    ("lut40to13", table.shape, (256,)),
  ):
    if found != expected:
      raise UserError(f"NYUv2 at {path}: {name} has shape {found}, expected {expected}.")
  metres = depth.astype(np.float32) / np.float32(_PER_METRE)
  kinds = np.where(table == _IGNORED, -1, table.astype(np.int16)).astype(np.int8)[kinds]
  words = tuple(names.tobytes().decode().split("\n"))
  if kinds.max() >= len(words):
    raise UserError(f"NYUv2 at {path}: seg40 has class {kinds.max()} of 13, but names13 only {len(words)} names.")
  return NYUv2(images, kinds, metres, _normals(metres), split == 1, words)


def _normals(depth: np.ndarray) -> np.ndarray:
  r"""Unit normals of depth maps (N, H, W), towards the camera; zero where depth is not known.

  $$ n = unit(\partial_v P \times \partial_u P), \qquad P_{uv} = ((u - c_u) / f, (v - c_v) / f, 1) d_{uv} $$

  of depth smoothed by a Gaussian of 1.5 pixels, with differences over two pixels to each side.
  """
  from scipy.ndimage import gaussian_filter

  def smooth(maps: np.ndarray) -> np.ndarray:
    return gaussian_filter(maps, (0, 1.5, 1.5))

  known = depth > 0
  around = smooth(known.astype(np.float32))
  smoothed = smooth(depth) / np.where(known, around, 1)
  scale = depth.shape[2] / _WIDTH
  rays = [
    (np.arange(size, dtype=np.float32) - (centre - start) * scale) / (_FOCAL * scale)
    for size, centre, start in zip(depth.shape[:0:-1], _CENTRE, (_LEFT, _TOP), strict=True)
  ]
  points = np.stack([smoothed * rays[0], smoothed * rays[1][:, None], smoothed], axis=-1)
  normals = np.cross(_slope(points, 1), _slope(points, 2))
  normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
  return np.where(known[..., None], normals, 0).astype(np.float32)


def _slope(points: np.ndarray, axis: int) -> np.ndarray:
  """The difference between what is two pixels after and what is two before, or at the map's edge."""
  size = points.shape[axis]
  after, before = (np.clip(np.arange(size) + step, 0, size - 1) for step in (2, -2))
  return np.take(points, after, axis) - np.take(points, before, axis)
