"""Office-31: 31 kinds of objects in photographs from three domains, a task for each, with a pretrained trunk."""

from __future__ import annotations

from collections.abc import Sequence

from mtl_jax import nn
from mtl_jax import tasks as families
from mtl_jax.adapters import from_linen
from mtl_jax.data import mixture, source
from mtl_jax.recipes import _imagenet
from mtl_jax.recipes._photos import photos
from mtl_jax.recipes._recipe import Parts, Recipe, Splits, adamw_cosine, choose

DOMAINS = ("amazon", "dslr", "webcam")
CLASSES = 31


def office31(pretrained: bool = True, side: int = 96, tuned: int = 2) -> Recipe:
  """Photographs of a shop, of a camera and of a webcam, each domain with examples of its own.

  Deviations from the papers: EfficientNet-Lite0 in place of ResNet-18, and images of 64 x 64 pixels, enlarged to
  `side`, in place of 224 x 224.

  Args:
    pretrained: Whether the trunk begins with ImageNet weights (`mtl.transfer.efficientnet_lite0`), or at random.
    side: The height and width that images have for the trunk, in pixels; more is better and slower.
    tuned: How many of the nine stages of a pretrained trunk are trained, from the last one on; the others stay.

  Returns:
    The recipe, with the tasks `amazon`, `dslr` and `webcam` (accuracy). `data` takes the photographs as
    `mtl.data.source.office31` does.

  References:
    Saenko et al., *Adapting Visual Category Models to New Domains*, 2010.
    Lin and Zhang, *LibMTL: A Python Library for Multi-Task Learning*, 2023, for the tasks and splits.
  """

  def data(seed: int) -> Splits:
    found = source.office31()
    parts = (mixture({name: found.domains[name][split] for name in DOMAINS}) for split in ("train", "valid", "test"))
    return Splits(*parts, about={"classes": found.classes})

  def net(names: Sequence[str]) -> Parts:
    heads = {name: from_linen(nn.MLP((), CLASSES)) for name in choose(dict.fromkeys(DOMAINS), names)}
    return Parts(_imagenet.trunk(pretrained, (side, side), tuned), heads)

  return Recipe(
    name="office31",
    summary="31 kinds of objects in photographs from three domains, with a pretrained trunk.",
    expected="4110 images; Office-31 from MTL_JAX_DATA; accuracies of 0.79, 0.90 and 0.94, three seeds.",
    data=data,
    net=net,
    tasks={name: families.classification("y", num_classes=CLASSES) for name in DOMAINS},
    optimizer=adamw_cosine,
    learning_rate=2e-3,
    steps=200,
    batch_size=96,
    eval_every=50,
    files=photos((64, 64)),
  )
