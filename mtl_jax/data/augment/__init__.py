"""Augmentation that moves labels with their images: JAX code inside the training step, for `mtl.fit(transform=)`.

- `transform`: what is done to a batch, from the kinds of its entries and the changes; `Kind`, `Change`: their types.
- `flip`, `zoom`: changes that move what is seen.
- `colour`, `cutout`: changes of pixels.
- `image`, `classes`, `depth`, `normals`: entries that are maps.
- `boxes`, `points`: entries that are places.
- `rotated`, `masked_patches`, `masked_tokens`: tasks that make their own labels; `in_turn`: transforms in turn.

>>> import jax, jax.numpy as jnp
>>> entries = {"x": image(), "kinds": classes(ignore=-1), "places": boxes("objects")}
>>> augmented = transform(entries, flip(0.5), zoom(0.8, 1.25), colour(0.2))
>>> batch = {"x": jnp.zeros((2, 4, 6, 3), jnp.uint8), "kinds": jnp.zeros((2, 4, 6), jnp.int32)}
>>> batch |= {"places": jnp.zeros((2, 1, 4)), "objects": jnp.full((2, 1), -1)}
>>> {key: value.shape for key, value in jax.eval_shape(augmented, batch, jax.random.key(0)).items()}
{'kinds': (2, 4, 6), 'objects': (2, 1), 'places': (2, 1, 4), 'x': (2, 4, 6, 3)}

A task that makes its own labels needs no other data: called once on the data, the transform gives them the entries that
it writes, and given to `fit` it draws anew in every step. The task takes part with a fixed weight, and is not balanced.

>>> import numpy as np, optax, mtl_jax as mtl
>>> turned = rotated("x", label="turn")
>>> images = {"x": np.zeros((8, 4, 4, 1), np.float32), "kind": np.arange(8) % 2}
>>> train, valid = turned(images, jax.random.key(1)), turned(images, jax.random.key(2))
>>> turns = mtl.tasks.auxiliary(mtl.tasks.classification("turn", 4), weight=0.1)
>>> tasks = {"kind": mtl.tasks.classification("kind", 2), "turn": turns}
>>> heads = {"kind": mtl.from_linen(mtl.nn.MLP((), 2)), "turn": mtl.from_linen(mtl.nn.MLP((), 4))}
>>> net = mtl.arch.hard_sharing(mtl.from_linen(mtl.nn.MLP((8,))), heads)
>>> options = {"valid": valid, "transform": turned, "steps": 2, "batch_size": 4, "progress": False}
>>> mtl.fit(net, tasks, "equal", optax.sgd(0.1), train, **options).best_step is not None
True
"""

from mtl_jax.data.augment.maps import classes, depth, image, normals
from mtl_jax.data.augment.pixels import colour, cutout
from mtl_jax.data.augment.places import boxes, points
from mtl_jax.data.augment.pretext import in_turn, masked_patches, masked_tokens, rotated
from mtl_jax.data.augment.transform import Change, Kind, transform
from mtl_jax.data.augment.windows import flip, zoom

__all__ = [
  "Change",
  "Kind",
  "boxes",
  "classes",
  "colour",
  "cutout",
  "depth",
  "flip",
  "image",
  "in_turn",
  "masked_patches",
  "masked_tokens",
  "normals",
  "points",
  "rotated",
  "transform",
  "zoom",
]
