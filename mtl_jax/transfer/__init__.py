"""Transfer: begin with what was learned elsewhere, and decide what of it is trained on.

Weights, and what they begin:

- `pretrained`: a net that begins with weights from elsewhere, as part of any model.
- `efficientnet_lite0`: the ImageNet weights of `mtl.nn.EfficientNetLite`, of a package.
- `read_torch`, `read_safetensors`: the arrays of a file by their names, without running anything in it.
- `renamed`: these arrays under the names and in the layout of a net.
- `from_run`: the best model of another run, or its trunk, for `mtl.fit(start=)`.

What is trained of it, beside `mtl.fit(frozen=)`:

- `rates`: learning rates of groups of parameters; `unfreeze`: a schedule for them.
- `in_inference`: a trunk whose batch statistics stay; `fixed`: one that stays as a whole.

What is kept:

- `save_safetensors`: parameters, such as those that were trained, as a file; `load_into`: back into a tree.
"""

from mtl_jax.transfer.efficientnet_lite0 import efficientnet_lite0
from mtl_jax.transfer.fixed import fixed
from mtl_jax.transfer.from_run import from_run
from mtl_jax.transfer.in_inference import in_inference
from mtl_jax.transfer.pretrained import pretrained
from mtl_jax.transfer.rates import rates, unfreeze
from mtl_jax.transfer.renamed import renamed
from mtl_jax.transfer.safetensors_file import load_into, read_safetensors, save_safetensors
from mtl_jax.transfer.torch_file import read_torch

__all__ = [
  "efficientnet_lite0",
  "fixed",
  "from_run",
  "in_inference",
  "load_into",
  "pretrained",
  "rates",
  "read_safetensors",
  "read_torch",
  "renamed",
  "save_safetensors",
  "unfreeze",
]
