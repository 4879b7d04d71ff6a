"""Tasks that make their own labels: what they hide can be put back from what they write down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.data import augment

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
IMAGES = RNG.random((64, 4, 4, 2)).astype(np.float32)
TOKENS = RNG.integers(5, 50, (40, 60)).astype(np.int32)
TOKENS[:, 0] = 2
SEGMENTS = np.where(np.arange(60)[None] < 50, 1, 0).repeat(40, 0).astype(np.int32)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_turned_images_turn_back(dtype):
  images = (255 * IMAGES).astype(dtype)
  found = jax.jit(augment.rotated())({"x": images, "other": np.ones(64)}, KEY)
  back = [np.rot90(image, -turn) for image, turn in zip(np.asarray(found["x"]), found["turn"], strict=True)]
  np.testing.assert_array_equal(back, images)
  assert set(found["turn"].tolist()) == {0, 1, 2, 3} and found["x"].dtype == dtype and "other" in found


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_hidden_patches_are_written_down(dtype):
  images = (255 * IMAGES).astype(dtype)
  found = jax.jit(augment.masked_patches(size=2, share=0.25))({"x": images}, KEY)
  hidden = np.asarray(found["patches_mask"]).reshape(images.shape) > 0
  assert 0.15 < hidden.mean() < 0.35  # 256 patches: four standard deviations
  assert (hidden.reshape(64, 2, 2, 2, 2, 2).mean(axis=(2, 4, 5)) % 1 == 0).all()  # whole ones
  unit = 255 if dtype == np.uint8 else 1
  np.testing.assert_allclose(np.asarray(found["patches"]).reshape(images.shape) * unit, images, rtol=1e-5)
  np.testing.assert_array_equal(np.asarray(found["x"])[~hidden], images[~hidden])
  mean = np.broadcast_to(images.astype(np.float32).mean(axis=(1, 2), keepdims=True), images.shape)
  np.testing.assert_allclose(
    np.asarray(found["x"])[hidden], mean.astype(dtype)[hidden], rtol=1e-4, atol=dtype == np.uint8
  )


def test_hidden_tokens_are_written_down():
  transform = jax.jit(augment.masked_tokens(4, 50, share=0.3, never=(2,)))
  found = transform({"x": {"tokens": TOKENS, "segments": SEGMENTS}}, KEY)
  changed, label = np.asarray(found["x"]["tokens"]), np.asarray(found["masked"])
  hidden = label >= 0
  np.testing.assert_array_equal(np.where(hidden, label, changed), TOKENS)
  assert not hidden[:, 0].any() and not hidden[:, 50:].any()
  assert 0.25 < hidden[:, 1:50].mean() < 0.35
  assert 0.72 < (changed == 4)[hidden].mean() < 0.88
  other = (changed != 4) & (changed != TOKENS)
  assert 0.05 < other[hidden].mean() < 0.15 and not other[~hidden].any()
  np.testing.assert_array_equal(found["x"]["segments"], SEGMENTS)


def test_tokens_without_padding_and_into_another_entry():
  found = augment.masked_tokens(4, 50, into="seen")({"x": TOKENS}, KEY)
  np.testing.assert_array_equal(found["x"], TOKENS)
  assert (found["seen"] != TOKENS).any() and found["masked"].shape == TOKENS.shape


def test_in_turn_draws_anew_and_depends_on_the_key_alone():
  both = augment.in_turn(augment.rotated(), augment.rotated(label="again"))
  found, same, other = (both({"x": IMAGES}, key) for key in (KEY, KEY, jax.random.key(1)))
  assert (found["turn"] != found["again"]).any() and (found["turn"] != other["turn"]).any()
  jax.tree.map(np.testing.assert_array_equal, found, same)
  total = (np.asarray(found["turn"]) + np.asarray(found["again"])) % 4
  back = [np.rot90(image, -turn) for image, turn in zip(np.asarray(found["x"]), total, strict=True)]
  np.testing.assert_array_equal(back, IMAGES)


def test_patches_have_a_task():
  """A regression that counts hidden pixels alone."""
  found = augment.masked_patches(size=2)({"x": IMAGES}, KEY)
  task = mtl.tasks.regression("patches", size=32, mask="patches_mask")
  mtl.data.check(
    {name: np.asarray(value) for name, value in found.items()}, {"patches": mtl.tasks.auxiliary(task)}, "x"
  )
  losses = task.loss(jnp.zeros((64, 32)), found)
  assert losses.shape == task.mask(found).shape == (64, 32)


@pytest.mark.parametrize(
  ("transform", "batch", "line"),
  [
    (augment.rotated(), {"y": IMAGES}, "rotated: the batch has no entry 'x', only 'y'"),
    (augment.rotated(), {"x": IMAGES[:, :3]}, r"\(64, 3, 4, 2\), expected square images \(B, S, S, C\)"),
    (augment.masked_patches(size=3), {"x": IMAGES}, r"\(64, 4, 4, 2\), expected images .* of whole patches, 3 x 3"),
    (augment.masked_tokens(4, 50), {"x": IMAGES}, r"entry 'x' is float32\[64, 4, 4, 2\], expected tokens \(B, L\)"),
  ],
)
def test_inputs_that_are_something_else(transform, batch, line):
  with pytest.raises(mtl.UserError, match=line):
    transform(batch, KEY)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_out_of_range(share):
  for make in (lambda: augment.masked_patches(share=share), lambda: augment.masked_tokens(4, 50, share=share)):
    with pytest.raises(mtl.UserError, match=f"share is {share}, expected above 0 and below 1"):
      make()
