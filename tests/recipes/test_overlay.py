"""Overlaid digits: rotation against scipy, and composition."""

import numpy as np
import pytest

from mtl_jax.recipes import _overlay


@pytest.mark.parametrize("side", [7, 8])
def test_rotation_is_scipys(side):
  ndimage = pytest.importorskip("scipy.ndimage")
  images = np.random.default_rng(0).random((5, side, side), dtype=np.float32)
  degrees = np.array([-45, -7.5, 0, 30, 44.9], np.float32)

  def reference(image, angle):  # In a frame of zeros, so that both fade out at the border alike.
    return ndimage.rotate(np.pad(image, 1), angle, reshape=False, order=1)[1:-1, 1:-1]

  expected = np.stack([reference(*pair) for pair in zip(images, degrees, strict=True)])
  found = _overlay.rotate(images, degrees)
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, expected, atol=1e-5)  # Coordinates of order 10 in float32.
  np.testing.assert_allclose(found[2], images[2], atol=1e-5)


def test_positive_angles_turn_counter_clockwise():
  image = np.zeros((1, 9, 9), np.float32)
  image[0, 4, 8] = 1  # East,
  turned = _overlay.rotate(image, np.array([45], np.float32))[0]
  row, column = np.unravel_index(turned.argmax(), turned.shape)
  assert row < 4 < column  # then north-east.


def test_pairs_are_two_digits_overlaid():
  rng = np.random.default_rng(0)
  # Each class has its own grey value, so that pixels name the digits.
  images = np.broadcast_to((np.arange(1, 6, dtype=np.float32) / 8)[:, None, None], (5, 6, 6))
  found = _overlay.pairs(images, np.arange(5), 5000, shift=2, rng=rng)
  x = found["x"][..., 0]
  assert found["x"].shape == (5000, 8, 8, 1)
  assert [found[key].dtype for key in ("x", "left", "right", "tilt")] == [np.float32, np.int32, np.int32, np.float32]
  np.testing.assert_allclose(x[:, 0, 0], (found["left"] + 1) / 8)
  np.testing.assert_allclose(x[:, 6, 5], (found["right"] + 1) / 8, atol=1e-6)
  np.testing.assert_allclose(x[:, 4, 4], (np.maximum(found["left"], found["right"]) + 1) / 8, atol=1e-6)
  assert (x[:, :2, 6:] == 0).all() and (x[:, 6:, :2] == 0).all()
  assert -45 <= found["tilt"].min() < -44 and 44 < found["tilt"].max() < 45
  # 25 cells of 200 expected pairs each: every digit meets every digit.
  assert np.bincount(5 * found["left"] + found["right"]).min() > 100


def test_blocks_do_not_show():
  images = np.random.default_rng(1).random((30, 4, 4), dtype=np.float32)
  whole = _overlay.pairs(images, np.arange(30), 5000, 2, np.random.default_rng(2))
  rows = slice(4000, 4200)  # Across the first block's end.
  left = images[whole["left"][rows]]
  np.testing.assert_array_equal(whole["x"][rows, :2, :4, 0], left[:, :2])
  turned = _overlay.rotate(images[whole["right"][rows]], whole["tilt"][rows])
  np.testing.assert_array_equal(whole["x"][rows, 4:, 2:, 0], turned[:, 2:])
