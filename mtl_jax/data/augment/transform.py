"""What is done to a batch: one window per example, through which each entry is seen after its kind, then pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mtl_jax._core.errors import UserError, nearest

Windows = Float[Array, "B 4"]
"""The part of each image that is seen: its left, upper, right and lower edge as fractions of width and height.

(0, 0, 1, 1) is the whole image, (1, 0, 0, 1) the same from right to left. Windows may reach beyond the image.
"""


def _whole(key: jax.Array, count: int) -> Windows:
  return jnp.tile(jnp.array([[0.0, 0.0, 1.0, 1.0]]), (count, 1))


def _as_it_is(key: jax.Array, images: jax.Array) -> jax.Array:
  return images


class Change(NamedTuple):
  """A random change of a batch. Each example has its own.

  Attributes:
    window: `window(key, B) -> (B, 4)`, the part of each image that is seen, float32: left, upper, right and lower edge
      as fractions of width and height; left above right means from right to left.
    pixels: `pixels(key, images) -> images` of floats (B, H, W, C) in [0, 1].
  """

  window: Callable[[jax.Array, int], jax.Array] = _whole
  pixels: Callable[[jax.Array, jax.Array], jax.Array] = _as_it_is


class Kind(NamedTuple):
  """How an entry of a batch is seen through windows.

  Attributes:
    move: `move(windows, values, *beside) -> (values, *beside)` of the shapes that they have.
    beside: The keys of the entries that change together with it, such as the classes of boxes.
    is_seen: Whether the changes of pixels apply to it.
  """

  move: Callable[..., tuple[Any, ...]]
  beside: tuple[str, ...] = ()
  is_seen: bool = False


def transform(
  entries: Mapping[str, Kind], *changes: Change
) -> Callable[[Mapping[str, Any], jax.Array], dict[str, Any]]:
  """The augmentation of batches, for `mtl.fit(transform=)` and `mtl.recipes.Recipe`.

  The windows of all changes become one, so that a map is read once however many they are; then pixels are changed, in
  the order of the changes. Entries that are not named stay as they are.

  Args:
    entries: The kinds of the entries that change, by their keys in the batch.
    *changes: The changes, in their order.

  Returns:
    `transform(batch, key) -> batch`, a function of its arguments alone. Shapes stay, and dtypes but for images of
    uint8, which become float32 in [0, 1].

  Raises:
    UserError: When it is called: the batch lacks an entry, or one is not what its kind takes.

  >>> from mtl_jax.data import augment
  >>> flipped = jax.jit(augment.transform({"x": augment.image()}, augment.flip(p=1.0)))
  >>> flipped({"x": jnp.array([[[[0.1], [0.9]]]])}, jax.random.key(0))["x"].ravel().tolist()
  [0.9, 0.1]
  """

  def augmented(batch: Mapping[str, Any], key: jax.Array) -> dict[str, Any]:
    for name in [*entries, *(beside for kind in entries.values() for beside in kind.beside)]:
      check_entry("augment", batch, name)
    if not entries:
      return dict(batch)
    keys = [jax.random.fold_in(key, np.uint32(number)) for number in range(len(changes))]
    count = next(len(batch[name]) for name in entries)
    windows = _whole(key, count)
    for change, own in zip(changes, keys, strict=True):
      windows = _within(windows, change.window(own, count))
    found = dict(batch)
    for name, kind in entries.items():
      try:
        moved = kind.move(windows, *(jnp.asarray(batch[entry]) for entry in (name, *kind.beside)))
      except UserError as error:
        raise UserError(f"augment: entry {name!r} {error}") from error
      found.update(zip((name, *kind.beside), moved, strict=True))
    for name in (name for name, kind in entries.items() if kind.is_seen):
      for change, own in zip(changes, keys, strict=True):
        found[name] = change.pixels(own, found[name])
    return found

  return augmented


def _within(outer: Windows, inner: Windows) -> Windows:
  """The window of an image that shows what `inner` shows of what `outer` shows."""
  start, end = outer[:, :2], outer[:, 2:]
  return jnp.concatenate([start + (end - start) * inner[:, :2], start + (end - start) * inner[:, 2:]], axis=1)


def check_entry(what: str, batch: Mapping[str, Any], name: str) -> None:
  """Refuses a batch without an entry of that name."""
  if name not in batch:
    known = ", ".join(map(repr, batch))
    raise UserError(f"{what}: the batch has no entry {name!r}, only {known}{nearest(name, batch)}.")
