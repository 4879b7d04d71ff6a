"""Built-in trunks and heads as Flax Linen modules: `mtl.from_linen(mtl.nn.CNN((16, 32)))` is a `Net`.

- `MLP`: dense layers.
- `Columns`: numbers, words and text of a table as vectors.
- `TabularResNet`: residual blocks for tables.
- `Pixels`: images as numbers of about unit size, first of all.
- `CNN`: convolutions, then a dense layer.
- `ResNet`: residual blocks for images.
- `CountHead`: how many things there are, by a density over a feature map.
- `ImageHead`: a question about an image as a whole, by what its map holds on average and anywhere.
- `DetectionHead`: objects at each cell of a feature map.
- `Patches`: images as sequences of vectors, for transformers.
- `EfficientNetLite`: small residual networks for images, whose weights can be pretrained (`mtl_jax.transfer`).
- `HydraDense`: a dense layer with a mixture of low-rank updates.
- `SpanHead`: where in a sequence something begins and ends.
- `SegNet`: encoder and decoder of convolutions, for predictions at every pixel.
- `UNet`: the same, joined at every resolution; `DenseHead`: a head for such predictions.
- `TransformerEncoder`: attention and dense layers, for tokens or vectors in sequence.
- `Bert`: the same as BERT has it, whose weights can be pretrained (`mtl_jax.transfer`).
- `RecurrentEncoder`: LSTM or GRU in both directions, for words or vectors in sequence.
- `TokenHead`: outputs at each position of a sequence; `BiaffineHead`: arcs between its words.
- `SegmentPool`: one vector of each sentence of packed rows.
- `TemporalConv`: dilated convolutions over time.
- `LogMel`: waves as mel bands over time; `SpecAugment`, `StackFrames`: runs of them dropped, frames side by side.
- `SequenceHead`: a head at every position of a sequence.
- `MessagePassing`: messages along the edges of molecules and other graphs.
- `Embeddings`: categorical columns and bags, from one table of any size.
- `lookup`: rows of a table by number, for modules of your own.
- `stages`: the stages of one of them, each a `Net`.
"""

from mtl_jax._core.rows import lookup
from mtl_jax.nn._stages import stages
from mtl_jax.nn.bert import Bert
from mtl_jax.nn.biaffine_head import BiaffineHead
from mtl_jax.nn.cnn import CNN
from mtl_jax.nn.columns import Columns
from mtl_jax.nn.count_head import CountHead
from mtl_jax.nn.dense_head import DenseHead
from mtl_jax.nn.detection_head import DetectionHead
from mtl_jax.nn.efficientnet_lite import EfficientNetLite
from mtl_jax.nn.embeddings import Embeddings
from mtl_jax.nn.frames import SpecAugment, StackFrames
from mtl_jax.nn.hydra_dense import HydraDense
from mtl_jax.nn.image_head import ImageHead
from mtl_jax.nn.log_mel import LogMel
from mtl_jax.nn.message_passing import MessagePassing
from mtl_jax.nn.mlp import MLP
from mtl_jax.nn.patches import Patches
from mtl_jax.nn.pixels import Pixels
from mtl_jax.nn.recurrent import RecurrentEncoder
from mtl_jax.nn.resnet import ResNet
from mtl_jax.nn.segment_pool import SegmentPool
from mtl_jax.nn.segnet import SegNet
from mtl_jax.nn.sequence_head import SequenceHead
from mtl_jax.nn.span_head import SpanHead
from mtl_jax.nn.tabular_resnet import TabularResNet
from mtl_jax.nn.temporal_conv import TemporalConv
from mtl_jax.nn.token_head import TokenHead
from mtl_jax.nn.transformer import TransformerEncoder
from mtl_jax.nn.unet import UNet

__all__ = [
  "Bert",
  "BiaffineHead",
  "CNN",
  "Columns",
  "CountHead",
  "DenseHead",
  "DetectionHead",
  "EfficientNetLite",
  "Embeddings",
  "HydraDense",
  "ImageHead",
  "LogMel",
  "MLP",
  "MessagePassing",
  "Patches",
  "Pixels",
  "RecurrentEncoder",
  "ResNet",
  "SegNet",
  "SegmentPool",
  "SequenceHead",
  "SpanHead",
  "SpecAugment",
  "StackFrames",
  "TabularResNet",
  "TemporalConv",
  "TokenHead",
  "TransformerEncoder",
  "UNet",
  "lookup",
  "stages",
]
