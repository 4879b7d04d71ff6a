"""Tasks that make their own labels: how an image was turned, what was hidden of an image or of a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.augment.transform import check_entry

Transform = Callable[[Mapping[str, Any], jax.Array], dict[str, Any]]


def rotated(key: str = "x", *, label: str = "turn", into: str | None = None) -> Transform:
  """Turns each image by 0 to 3 quarters, and writes down by how many: a task of four classes without labels.

  Its task is `mtl.tasks.auxiliary(mtl.tasks.classification("turn", 4))`, with a head on the trunk's features.

  Args:
    key: The key of the images in the batch, (B, S, S, C).
    label: The key of the quarters that it writes, (B,) int32, against the clock.
    into: The key of the turned images; None: they take the place of the images, for all tasks.

  Returns:
    `transform(batch, key) -> batch`, for `mtl.fit(transform=)`. Called on the data themselves it gives them the entries
    that it writes, which training data must have from the start, and validation data their own labels.

  Raises:
    UserError: When it is called: there are no such images.

  >>> turned = rotated()({"x": np.arange(16.0, dtype=np.float32).reshape(4, 2, 2, 1)}, jax.random.key(0))
  >>> turned["x"].shape, turned["turn"].shape
  ((4, 2, 2, 1), (4,))

  References:
    Gidaris et al., *Unsupervised Representation Learning by Predicting Image Rotations*, ICLR 2018.
  """

  def transform(batch: Mapping[str, Any], random: jax.Array) -> dict[str, Any]:
    images = _entry("rotated", batch, key)
    if images.ndim != 4 or images.shape[1] != images.shape[2]:
      raise UserError(f"rotated: entry {key!r} has shape {images.shape}, expected square images (B, S, S, C).")
    turn = jax.random.randint(random, images.shape[:1], 0, 4)
    turns = jnp.stack([jnp.rot90(images, quarters, axes=(1, 2)) for quarters in range(4)])
    return {**batch, into or key: turns[turn, jnp.arange(len(turn))], label: turn}

  return transform


def masked_patches(
  key: str = "x", *, size: int = 8, share: float = 0.5, label: str = "patches", into: str | None = None
) -> Transform:
  """Hides patches of each image, and writes down what was there.

  Its task is `mtl.tasks.auxiliary(mtl.tasks.regression("patches", size=H * W * C, mask="patches_mask"))`, whose head
  gives as many numbers, such as `mtl.nn.DenseHead(C)` and `mtl.nn.MLP(())`, which lays them in one row.

  Args:
    key: The key of the images in the batch, (B, H, W, C), floats, or of 8 bits.
    size: The side of a patch, in pixels.
    share: The share of patches that are hidden, in (0, 1); each is, or is not, on its own.
    label: The key of the pixels that it writes, (B, H * W * C) float32, of 8 bits as fractions. Under the key
      `<label>_mask` stands which of them were hidden, ones and zeros of the same shape.
    into: As in `rotated`.

  Returns:
    As in `rotated`. Hidden pixels are the mean of their image.

  Raises:
    UserError: `share` is out of range; when it is called: there are no such images, or not of whole patches.

  References:
    He et al., *Masked Autoencoders Are Scalable Vision Learners*, CVPR 2022. Deviation: all patches go through the
    network.
  """
  _check_share("masked_patches", share)

  def transform(batch: Mapping[str, Any], random: jax.Array) -> dict[str, Any]:
    images = _entry("masked_patches", batch, key)
    if images.ndim != 4 or images.shape[1] % size or images.shape[2] % size:
      raise UserError(
        f"masked_patches: entry {key!r} has shape {images.shape}, expected images (B, H, W, C) of whole patches, "
        f"{size} x {size} pixels."
      )
    count, high, wide, _ = images.shape
    hidden = jax.random.bernoulli(random, share, (count, high // size, wide // size))
    hidden = jnp.broadcast_to(hidden.repeat(size, axis=1).repeat(size, axis=2)[..., None], images.shape)
    whole = images.astype(jnp.float32)
    mean = jnp.broadcast_to(whole.mean(axis=(1, 2), keepdims=True), images.shape).astype(images.dtype)
    pixels = whole / 255 if images.dtype == jnp.uint8 else whole
    written = {label: pixels, f"{label}_mask": hidden.astype(jnp.float32)}
    rows = {name: value.reshape(count, -1) for name, value in written.items()}
    return {**batch, into or key: jnp.where(hidden, mean, images), **rows}

  return transform


def masked_tokens(
  mask: int,
  vocabulary: int,
  key: str = "x",
  *,
  share: float = 0.15,
  never: Sequence[int] = (),
  label: str = "masked",
  into: str | None = None,
) -> Transform:
  """Hides tokens of each sentence, and writes down which were there.

  Of those hidden 80 % become `mask`, 10 % another token at random, and 10 % stay. Its task is
  `mtl.tasks.auxiliary(mtl.tasks.classification("masked", vocabulary, ignore=-1))`, with a head that gives logits at
  every position.

  Args:
    mask: The token that stands for a hidden one; 103 for `mtl.transfer.minilm_tokenizer()`.
    vocabulary: The number of tokens.
    key: The key of the sentences in the batch: a mapping with `"tokens"` (B, L), and `"mask"` or `"segments"` where
      there is padding; or the tokens themselves.
    share: The share of tokens that are hidden, in (0, 1).
    never: Tokens that are not, such as 101 and 102, which begin and end sentences.
    label: The key of what it writes, (B, L) int32, -1 at tokens that are not hidden.
    into: As in `rotated`.

  Returns:
    As in `rotated`.

  Raises:
    UserError: `share` is out of range; when it is called: there are no such sentences.

  References:
    Devlin et al., *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*, NAACL 2019.
  """
  _check_share("masked_tokens", share)

  def transform(batch: Mapping[str, Any], random: jax.Array) -> dict[str, Any]:
    given = batch.get(key)
    inside = dict(given) if isinstance(given, Mapping) else {}
    tokens = _entry("masked_tokens", inside if inside else batch, "tokens" if inside else key)
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
      raise UserError(f"masked_tokens: entry {key!r} is {tokens.dtype}{list(tokens.shape)}, expected tokens (B, L).")
    which_key, how_key, other_key = jax.random.split(random, 3)
    hidden = jax.random.bernoulli(which_key, share, tokens.shape)
    for name in ("mask", "segments"):
      if name in inside:
        hidden = hidden & (jnp.asarray(inside[name]).astype(jnp.int32) > 0)
    hidden = hidden & ~jnp.isin(tokens, jnp.asarray(never, tokens.dtype))
    how = jax.random.uniform(how_key, tokens.shape)
    others = jax.random.randint(other_key, tokens.shape, 0, vocabulary).astype(tokens.dtype)
    instead = jnp.where(how < 0.8, jnp.asarray(mask, tokens.dtype), jnp.where(how < 0.9, others, tokens))
    changed = jnp.where(hidden, instead, tokens)
    written = {into or key: inside | {"tokens": changed} if inside else changed}
    return {**batch, **written, label: jnp.where(hidden, tokens, -1).astype(jnp.int32)}

  return transform


def in_turn(*transforms: Transform) -> Transform:
  """Transforms one after the other, each with draws of its own.

  Args:
    *transforms: `transform(batch, key) -> batch`, such as `mtl.data.augment.transform` gives.

  Returns:
    The transform.

  >>> both = in_turn(rotated(), rotated(label="again"))
  >>> sorted(both({"x": np.zeros((1, 2, 2, 1), np.float32)}, jax.random.key(0)))
  ['again', 'turn', 'x']
  """

  def transform(batch: Mapping[str, Any], random: jax.Array) -> dict[str, Any]:
    found = dict(batch)
    for number, one in enumerate(transforms):
      found = one(found, jax.random.fold_in(random, np.uint32(number)))
    return found

  return transform


def _entry(what: str, batch: Mapping[str, Any], key: str) -> jax.Array:
  check_entry(what, batch, key)
  return jnp.asarray(batch[key])


def _check_share(what: str, share: float) -> None:
  if not 0 < share < 1:
    raise UserError(f"{what}: share is {share}, expected above 0 and below 1.")
