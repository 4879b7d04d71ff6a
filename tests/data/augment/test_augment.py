"""Augmentation: labels and images stay together, flips undo themselves, shapes stay, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.data import augment

SIZE, HEIGHT, WIDTH = 6, 24, 30
KEY = jax.random.key(3)
ENTRIES = {
  "x": augment.image(),
  "kinds": augment.classes(ignore=-1),
  "marks": augment.classes(ignore=0),
  "depth": augment.depth(),
  "normals": augment.normals(),
  "places": augment.boxes("objects"),
  "joints": augment.points("visible", mirrored=(1, 0, 2)),
}


def batch(seed=0):
  rng = np.random.default_rng(seed)
  maps = (SIZE, HEIGHT, WIDTH)
  start = rng.uniform(0, 0.6, (SIZE, 3, 2))
  normals = rng.normal(size=(*maps, 3))
  return {
    "x": rng.integers(0, 256, (*maps, 3)).astype(np.uint8),
    "kinds": rng.integers(-1, 5, maps).astype(np.int32),
    "marks": rng.random(maps) < 0.5,
    "depth": (rng.uniform(1, 5, maps) * (rng.random(maps) < 0.9)).astype(np.float32),
    "normals": (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float32),
    "places": np.concatenate([start, start + rng.uniform(0.1, 0.4, start.shape)], axis=-1).astype(np.float32),
    "objects": rng.integers(-1, 4, (SIZE, 3)).astype(np.int32),
    "joints": rng.uniform(0, 1, (SIZE, 3, 2)).astype(np.float32),
    "visible": rng.random((SIZE, 3)) < 0.7,
    "other": np.arange(SIZE, dtype=np.int32),
  }


def run(entries, *changes):
  """The program, with results in numpy, whose operations need not be compiled."""
  compiled = jax.jit(augment.transform(entries, *changes))
  return lambda batch, key: jax.device_get(compiled(batch, key))


@pytest.mark.parametrize("vertical", [False, True])
def test_flips_undo_themselves(vertical):
  once = run(ENTRIES, augment.flip(1.0, vertical=vertical))
  given = batch()
  flipped = once(given, KEY)
  axis = 1 if vertical else 2
  np.testing.assert_array_equal(flipped["kinds"], np.flip(given["kinds"], axis))
  np.testing.assert_allclose(flipped["x"], np.flip(given["x"] / 255, axis), atol=1e-7)
  sign = np.ones(3)
  sign[1 if vertical else 0] = -1
  np.testing.assert_array_equal(flipped["normals"], np.flip(given["normals"], axis) * sign)
  np.testing.assert_array_equal(flipped["visible"], given["visible"][:, [1, 0, 2]])
  twice = once(flipped, KEY)
  given["x"] = given["x"] / np.float32(255)
  for key, values in given.items():
    np.testing.assert_allclose(twice[key], values, rtol=0, atol=2e-7, err_msg=key)


def test_two_flips_are_no_mirror():
  turned = run(ENTRIES, augment.flip(1.0), augment.flip(1.0, vertical=True))(batch(), KEY)
  np.testing.assert_array_equal(turned["visible"], batch()["visible"])
  np.testing.assert_allclose(turned["joints"], 1 - batch()["joints"], atol=1e-6)


def drawn(places, shape):
  """Boxes as masks (B, K, H, W): the pixels whose centres they hold."""
  down, across = ((np.arange(size) + 0.5) / size for size in shape)
  left, top, right, bottom = (places[..., i, None] for i in range(4))
  inside = ((down >= top) & (down < bottom))[..., None] & ((across >= left) & (across < right))[..., None, :]
  return inside


MOVES = (augment.flip(0.5), augment.zoom(0.6, 1.7), augment.flip(0.5, vertical=True))


def test_boxes_move_as_what_they_hold():
  """All that a box holds, drawn as a mask and moved, is in the moved box, and nothing else: but for the edge's pixels.

  What is moved is blown up 16 times, so that the edges are few.
  """
  given = batch()
  shape = (16 * HEIGHT, 16 * WIDTH)
  entries = {f"mask {k}": augment.classes(0) for k in range(3)} | {"places": augment.boxes("objects", least=0.0)}
  masks = drawn(given["places"], shape)
  given |= {f"mask {k}": masks[:, k] for k in range(3)}
  moved = run(entries, *MOVES)(given, KEY)
  again = drawn(moved["places"], shape)
  for k in range(3):
    own = moved[f"mask {k}"]
    assert (own != again[:, k]).sum(axis=(1, 2)).max() <= 2 * sum(shape) * 2
    assert own.any(axis=(1, 2)).tolist() == (moved["places"][:, k, 2:] > moved["places"][:, k, :2]).all(-1).tolist()


def test_points_move_as_pixels():
  """A point at a pixel of one value is where the value is afterwards."""
  rng = np.random.default_rng(1)
  down, across = rng.integers(0, HEIGHT, SIZE), rng.integers(0, WIDTH, SIZE)
  joints = np.stack([(across + 0.5) / WIDTH, (down + 0.5) / HEIGHT], axis=-1)[:, None]
  kinds = np.zeros((SIZE, HEIGHT, WIDTH), np.int32)
  kinds[np.arange(SIZE), down, across] = 1
  given = {"kinds": kinds, "joints": joints.astype(np.float32), "seen": np.ones((SIZE, 1), np.float32)}
  entries = {"kinds": augment.classes(0), "joints": augment.points("seen")}
  moved = run(entries, augment.flip(), augment.zoom(1.0, 1.5))(given, KEY)
  for own, place, seen in zip(*(moved[key] for key in ("kinds", "joints", "seen")), strict=True):
    found = np.argwhere(own == 1)[:, ::-1]
    centres = (found + 0.5) / (WIDTH, HEIGHT)
    assert len(found) == 0 or (np.abs(centres - place) <= (1 / WIDTH, 1 / HEIGHT)).all()
    assert seen[0] == ((place >= 0) & (place <= 1)).all()


def test_a_box_that_is_hardly_left_is_gone():
  given = {"places": jnp.array([[[0.0, 0.0, 0.5, 1.0], [0.4, 0.0, 0.9, 1.0], [0.6, 0.0, 0.7, 1.0]]])}
  given["objects"] = jnp.array([[2, 1, 0]])
  right_half = augment.Change(lambda key, count: jnp.tile(jnp.array([[0.5, 0.0, 1.0, 1.0]]), (count, 1)))

  def moved(least):
    return run({"places": augment.boxes("objects", least=least)}, right_half)(given, KEY)

  assert moved(0.0)["objects"].tolist() == [[-1, 1, 0]]
  assert moved(0.9)["objects"].tolist() == [[-1, -1, 0]]
  np.testing.assert_allclose(moved(0.0)["places"][0, 1:], [[0, 0, 0.8, 1], [0.2, 0, 0.4, 1]], atol=1e-6)


def test_zoom():
  """Twice as large: half as far, and each pixel is there four times; half as large: nothing around."""
  given = batch()
  entries = {"depth": augment.depth(), "kept": augment.depth(scaled=False)}
  larger = run(entries, augment.zoom(2.0, 2.0))(given | {"kept": given["depth"]}, KEY)
  known = larger["depth"][larger["depth"] > 0]
  assert np.isin(known, given["depth"] / 2).all()
  np.testing.assert_array_equal(larger["kept"], 2 * larger["depth"])
  smaller = run(ENTRIES, augment.zoom(0.5, 0.5))(given | {"depth": np.ones_like(given["depth"])}, KEY)
  known = smaller["depth"] > 0
  assert (known.sum(axis=(1, 2)) == HEIGHT * WIDTH // 4).all()
  np.testing.assert_allclose(smaller["depth"][known], 2, rtol=1e-6)
  assert (smaller["kinds"][~known] == -1).all() and not smaller["marks"][~known].any()
  assert not smaller["normals"][~known].any() and not smaller["x"][~known].any()


def test_images_are_interpolated():
  """A plane stays a plane, but at its edges."""
  down, across = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32) + 0.5
  given = {"x": np.tile((0.01 * down + 0.02 * across)[None, :, :, None], (2, 1, 1, 1))}
  window = (0.2, 0.3, 0.7, 0.9)
  change = augment.Change(lambda key, count: jnp.tile(jnp.array([window]), (count, 1)))
  found = run({"x": augment.image()}, change)(given, KEY)["x"][0, :, :, 0]
  expected = 0.01 * (0.3 * HEIGHT + 0.6 * down) + 0.02 * (0.2 * WIDTH + 0.5 * across)
  np.testing.assert_allclose(found, expected, atol=1e-5)


ALL = (*MOVES, augment.colour(0.3, 0.3, 0.3), augment.cutout(0.3, p=1.0))


def test_all_changes_in_one_program():
  given = batch()
  changed = run(ENTRIES, *ALL)
  assert "callback" not in str(jax.make_jaxpr(augment.transform(ENTRIES, *ALL))(given, KEY))
  found = changed(given, KEY)
  for key, values in given.items():
    assert found[key].shape == values.shape
    assert found[key].dtype == (np.float32 if key == "x" else values.dtype)
  assert found["x"].min() >= 0 and found["x"].max() <= 1
  jax.tree.map(np.testing.assert_array_equal, found, changed(given, KEY))
  assert (changed(given, jax.random.key(4))["kinds"] != found["kinds"]).any()
  alike = {key: np.tile(values[:1], (SIZE, *(1,) * (values.ndim - 1))) for key, values in given.items()}
  each = changed(alike, KEY)["kinds"]
  assert len({own.tobytes() for own in each}) == SIZE  # every example is changed in a way of its own


def test_colours_and_cutout_leave_labels():
  given = batch()
  found = run({key: ENTRIES[key] for key in ("x", "kinds", "depth")}, *ALL[3:])(given, KEY)
  assert all((found[key] == given[key]).all() for key in given if key != "x")
  assert (found["x"] != given["x"] / np.float32(255)).mean() > 0.5
  flat = {"x": np.zeros((40, 16, 16, 1), np.float32)}
  share = run({"x": augment.image()}, augment.cutout(0.5, p=1.0, fill=1.0))(flat, KEY)["x"]
  size = share.sum(axis=(1, 2, 3))
  assert size.max() == 64 and size.min() >= 16  # a quarter of it where its centre is a corner


@pytest.mark.parametrize(
  ("entries", "changed", "line"),
  [
    ({"y": augment.image()}, {}, "the batch has no entry 'y', only 'x'"),
    ({"places": augment.boxes("object")}, {}, "no entry 'object', .* \\(did you mean 'objects'"),
    ({"x": augment.image()}, {"x": jnp.ones((2, 4, 6))}, r"entry 'x' is float32 \(2, 4, 6\), expected images \(B, H"),
    ({"kinds": augment.classes()}, {"kinds": jnp.ones((2, 4, 6), jnp.uint8)}, "entry 'kinds' has dtype uint8, which"),
    ({"depth": augment.depth()}, {"depth": jnp.ones((2, 4, 6), jnp.uint8)}, "'depth' is uint8 .*, expected maps"),
    ({"normals": augment.normals()}, {"normals": jnp.ones((2, 4, 6, 2))}, r"expected maps \(B, H, W, 3\) of floats"),
    ({"places": augment.boxes("objects")}, {"objects": jnp.ones((2, 4))}, r"has classes 'objects' of float32 \(2, 4\)"),
    ({"joints": augment.points("visible", mirrored=(1, 0))}, {}, "'joints' has 3 points, expected 2, as many as"),
    ({"joints": augment.points("kinds")}, {}, r"'joints' has 'kinds' of shape \(6, 24, 30\), expected \(6, 3\)"),
  ],
)
def test_what_it_refuses(entries, changed, line):
  with pytest.raises(mtl.UserError, match=f"augment: .*{line}") as error:
    augment.transform(entries)(batch() | changed, KEY)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("make", "line"),
  [
    (lambda: augment.flip(1.5), r"flip: p is 1.5, expected a probability in \[0, 1\]"),
    (lambda: augment.zoom(1.2, 0.8), "zoom: least is 1.2 and most 0.8, expected 0 < least <= most"),
    (lambda: augment.colour(contrast=2.0), r"colour: contrast is 2.0, expected in \[0, 1\]"),
    (lambda: augment.cutout(-1.0), r"cutout: side is -1.0, expected in \[0, 1\]"),
    (lambda: augment.boxes("objects", least=2), "boxes of 'objects': least is 2, expected a share"),
    (
      lambda: augment.points("seen", mirrored=(1, 2, 0)),
      r"points of 'seen': mirrored is \(1, 2, 0\), expected numbers",
    ),
  ],
)
def test_options_out_of_range(make, line):
  with pytest.raises(mtl.UserError, match=line):
    make()
