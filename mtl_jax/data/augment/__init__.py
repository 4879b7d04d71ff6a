"""Augmentation that moves labels with their images: JAX code inside the training step, for `mtl.fit(transform=)`.

- `transform`: what is done to a batch, from the kinds of its entries and the changes; `Kind`, `Change`: their types.
- `flip`, `zoom`: changes that move what is seen.
- `colour`, `cutout`: changes of pixels.
- `image`, `classes`, `depth`, `normals`: entries that are maps.
- `boxes`, `points`: entries that are places.

>>> import jax, jax.numpy as jnp
>>> entries = {"x": image(), "kinds": classes(ignore=-1), "places": boxes("objects")}
>>> augmented = transform(entries, flip(0.5), zoom(0.8, 1.25), colour(0.2))
>>> batch = {"x": jnp.zeros((2, 4, 6, 3), jnp.uint8), "kinds": jnp.zeros((2, 4, 6), jnp.int32)}
>>> batch |= {"places": jnp.zeros((2, 1, 4)), "objects": jnp.full((2, 1), -1)}
>>> {key: value.shape for key, value in jax.eval_shape(augmented, batch, jax.random.key(0)).items()}
{'kinds': (2, 4, 6), 'objects': (2, 1), 'places': (2, 1, 4), 'x': (2, 4, 6, 3)}
"""

from mtl_jax.data.augment.maps import classes, depth, image, normals
from mtl_jax.data.augment.pixels import colour, cutout
from mtl_jax.data.augment.places import boxes, points
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
  "normals",
  "points",
  "transform",
  "zoom",
]
