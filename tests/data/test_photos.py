"""Photographs of every kind, whole and damaged."""

import numpy as np
import pytest
from PIL import Image

from mtl_jax import UserError
from mtl_jax.data import photos

GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)


def test_every_kind_of_image_is_the_same_picture(tmp_path):
  grey = Image.fromarray(GREY)
  grey.save(tmp_path / "grey.png")
  grey.convert("RGB").save(tmp_path / "colours.png")
  grey.convert("P").save(tmp_path / "palette.gif")
  Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "sixteen_bits.png")
  Image.fromarray((GREY / np.float32(255)).astype(np.float32)).save(tmp_path / "floats.tiff")
  turned = Image.Exif()
  turned[0x0112] = 8  # the camera was held upright: turn the stored picture by 90 degrees to the left
  Image.fromarray(np.rot90(GREY, -1).copy()).save(tmp_path / "turned.png", exif=turned)
  images, names = photos.read(tmp_path, (4, 6))
  assert names == sorted(names) and len(names) == 6
  for name, image in zip(names, images, strict=True):
    np.testing.assert_array_equal(image, np.repeat(GREY[..., None], 3, axis=-1), err_msg=name)
  one, _ = photos.read(tmp_path / "colours.png", (4, 6), channels=1)
  np.testing.assert_array_equal(one[0, ..., 0], GREY)


def test_what_is_transparent_is_white(tmp_path):
  pixels = np.zeros((2, 2, 4), np.uint8)
  pixels[0, 0] = (10, 20, 30, 255)
  Image.fromarray(pixels).save(tmp_path / "a.png")
  images, _ = photos.read(tmp_path, (2, 2))
  assert images[0, 0, 0].tolist() == [10, 20, 30] and (images[0, 1] == 255).all()


def test_images_are_stretched_and_folders_are_walked(tmp_path):
  (tmp_path / "inner").mkdir()
  Image.new("RGB", (40, 10), "red").save(tmp_path / "inner" / "a.jpg")
  (tmp_path / "notes.txt").write_text("no image")
  images, names = photos.read(tmp_path, (8, 6))
  assert images.shape == (1, 8, 6, 3) and names == ["inner/a.jpg"]


def test_damaged_images_are_named_or_left_out(tmp_path):
  Image.new("RGB", (40, 30), "red").save(tmp_path / "good.png")
  (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
  (tmp_path / "empty.jpg").write_bytes(b"")
  with pytest.raises(UserError, match=r"cannot read .*cut\.png as an image: "):
    photos.read(tmp_path, (8, 6))
  told = []
  images, names = photos.read(tmp_path, (8, 6), warn=told.append)
  assert names == ["good.png"] and len(images) == 1
  assert len(told) == 2 and "cut.png" in told[0] and "empty.jpg" in told[1]
  (tmp_path / "good.png").unlink()
  with pytest.raises(UserError, match="none of 2 images can be read"):
    photos.read(tmp_path, (8, 6), warn=told.append)


def test_nothing_there(tmp_path):
  with pytest.raises(UserError, match="has no images: give a folder of png or jpg files"):
    photos.read(tmp_path, (8, 6))
  with pytest.raises(UserError, match="is not there"):
    photos.read(tmp_path / "none", (8, 6))
