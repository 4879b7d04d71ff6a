"""Built-in trunks and heads as Flax Linen modules: `mtl.from_linen(mtl.nn.CNN((16, 32)))` is a `Net`.

- `MLP`: dense layers.
- `CNN`: convolutions, then a dense layer.
- `ResNet`: residual blocks for images.
- `HydraDense`: a dense layer with a mixture of low-rank updates.
- `stages`: the stages of one of them, each a `Net`.
"""

from mtl_jax.nn._stages import stages
from mtl_jax.nn.cnn import CNN
from mtl_jax.nn.hydra_dense import HydraDense
from mtl_jax.nn.mlp import MLP
from mtl_jax.nn.resnet import ResNet

__all__ = ["CNN", "MLP", "HydraDense", "ResNet", "stages"]
