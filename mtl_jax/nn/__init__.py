"""Built-in trunks and heads as Flax Linen modules: `mtl.from_linen(mtl.nn.CNN((16, 32)))` is a `Net`."""

from mtl_jax.nn._stages import stages as stages
from mtl_jax.nn.cnn import CNN as CNN
from mtl_jax.nn.mlp import MLP as MLP
from mtl_jax.nn.resnet import ResNet as ResNet
