"""Lists of boxes as arrays of one size."""

import numpy as np
import pytest

import mtl_jax as mtl

BOXES = [[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]], [], [[0.1, 0.2, 0.3, 0.4]]]
KINDS = [[2, 0], [], [1]]


def test_images_have_room_for_as_many_as_the_fullest_or_as_told():
  boxes, kinds = mtl.data.pad_objects(BOXES, KINDS)
  assert boxes.dtype == np.float32 and kinds.tolist() == [[2, 0], [-1, -1], [1, -1]]
  np.testing.assert_array_equal(boxes[0], np.float32(BOXES[0]))
  np.testing.assert_array_equal(boxes[2], np.float32([BOXES[2][0], [0] * 4]))
  boxes, kinds = mtl.data.pad_objects(BOXES, KINDS, 4)
  assert boxes.shape == (3, 4, 4) and kinds.shape == (3, 4)
  assert mtl.data.pad_objects([[]], [[]])[0].shape == (1, 1, 4)


@pytest.mark.parametrize(
  "boxes, kinds, message",
  [
    (BOXES, KINDS[:2], "boxes of 3 images, but classes of 2"),
    (BOXES, [[2, 0], [], [1, 1]], r"image 2 has boxes \(1, 4\) and 2 classes"),
    ([[], [[0.1, 0.2, 0.3]]], [[], [1]], r"image 1 has boxes \(1, 3\) and 1 classes, expected \(n, 4\)"),
  ],
)
def test_lists_that_do_not_fit(boxes, kinds, message):
  with pytest.raises(mtl.UserError, match=message):
    mtl.data.pad_objects(boxes, kinds)


def test_more_objects_than_there_is_room_for():
  with pytest.raises(mtl.UserError, match="image 0 has 2 objects, expected at most 1: raise most"):
    mtl.data.pad_objects(BOXES, KINDS, 1)
