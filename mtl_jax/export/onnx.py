"""ONNX, by the library jax2onnx."""

from __future__ import annotations

import contextlib
import importlib
import logging
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.extend
import numpy as np

from mtl_jax._core.errors import reason
from mtl_jax.export.deployed import Deployed
from mtl_jax.export.stablehlo import count_of

PROGRAM = """
import numpy, onnxruntime

def opened(path):
  session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
  names = [output.name for output in session.get_outputs()]
  return lambda arrays: dict(zip(names, session.run(names, arrays)))
"""


def write(model: Deployed, path: Path, batch: int | None, quantize: str | None) -> None:
  """Writes the model with named inputs and outputs.

  Args:
    model: The model.
    path: The file.
    batch: The number of examples; None: any.
    quantize: One of `QUANTIZED`, or None.
  """
  to_onnx: Any = importlib.import_module("jax2onnx").to_onnx
  names, outputs, like = list(model.inputs), list(model.outputs), list(model.like(count_of(batch)).values())

  def positional(*arrays: Any) -> Any:
    found = model.function(dict(zip(names, arrays, strict=True)))
    return tuple(found[name] for name in outputs)

  # Traced first by JAX itself: jax2onnx puts operations of its own in the place of functions of Flax and JAX, and knows
  # those of JAX better.
  traced = jax.make_jaxpr(positional)(*like)
  with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), _closed(), _quiet(), _named():
    made = to_onnx(jax.extend.core.jaxpr_as_fun(traced), inputs=like, input_names=names, output_names=outputs)
  _pooled_by_place(made)
  if quantize is not None:
    made = QUANTIZED[quantize](made)
  path.write_bytes(made.SerializeToString())


@contextlib.contextmanager
def _closed() -> Iterator[None]:
  """With a name that jax2onnx 0.17 looks for, and that JAX 0.11 and newer have merged into another."""
  core: Any = importlib.import_module("jax._src.core")
  merged = not hasattr(core, "ClosedJaxpr")
  if merged:
    core.ClosedJaxpr = core.Jaxpr
  try:
    yield
  finally:
    if merged:
      del core.ClosedJaxpr


@contextlib.contextmanager
def _named() -> Iterator[None]:
  """Tells of an error which operation it is about: jax2onnx has a file for each."""
  try:
    yield
  except Exception as error:
    files = (Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__))
    found = [file.stem for file in files if "plugins" in file.parts and not file.stem.startswith("_")]
    raise ValueError(f"operation {found[-1]}: {reason(error)}" if found else reason(error)) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Without warnings of shapes that the file does not tell, which it need not."""
  log = logging.getLogger("onnx_ir")
  level = log.level
  log.setLevel(logging.ERROR)
  try:
    yield
  finally:
    log.setLevel(level)


def _pooled_by_place(made: Any) -> None:
  """Makes maxima over windows of maps (B, H, W, C) what runtimes know.

  jax2onnx takes them over all four axes, behind two more axes that it puts in front, where runtimes have but three.
  """
  onnx: Any = importlib.import_module("onnx")
  make, nodes, axes = onnx.helper.make_node, [], "axes_in_front"
  for node in made.graph.node:
    options = _options(node)
    if node.op_type != "MaxPool" or len(options["kernel_shape"]) != 4:
      nodes.append(node)
      continue
    inner = {key: value if key not in _PER_AXIS else _of_places(value) for key, value in options.items()}
    maps, given, taken, back = (f"{node.output[0]}_{name}" for name in ("maps", "given", "taken", "back"))
    nodes += [
      make("Squeeze", [node.input[0], axes], [maps]),
      make("Transpose", [maps], [given], perm=[0, 3, 1, 2]),
      make("MaxPool", [given], [taken], **inner),
      make("Transpose", [taken], [back], perm=[0, 2, 3, 1]),
      make("Unsqueeze", [back, axes], [node.output[0]]),
    ]
  if len(nodes) > len(made.graph.node):
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 1]), axes))
    del made.graph.node[:]
    made.graph.node.extend(nodes)


_PER_AXIS = ("kernel_shape", "strides", "pads", "dilations")


def _of_places(values: list[int]) -> list[int]:
  """Those of the two axes of places, of numbers for all four axes, or for their begins and ends."""
  return [value for i, value in enumerate(values) if i % 4 in (1, 2)]


def _options(node: Any) -> dict[str, Any]:
  onnx: Any = importlib.import_module("onnx")
  return {option.name: onnx.helper.get_attribute_value(option) for option in node.attribute}


_PLAIN = {"alpha": 1.0, "beta": 0.0, "transA": 0, "transB": 0}
"""The options of a product and nothing else."""


def _int8(made: Any) -> Any:
  """Products with weights of 8 bits; the other factor is brought to 8 bits by its own range at each call."""
  onnx, runtime, ort = (importlib.import_module(name) for name in ("onnx", "onnxruntime", "onnxruntime.quantization"))
  with tempfile.TemporaryDirectory() as directory:
    place = str(Path(directory, "model.onnx"))
    # Only weights of plain products, with nothing done to them before, are stored in 8 bits.
    folding = runtime.SessionOptions()
    folding.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    folding.optimized_model_filepath = place
    runtime.InferenceSession(made.SerializeToString(), folding, providers=["CPUExecutionProvider"])
    folded = onnx.load(place)
    for node in folded.graph.node:
      if node.op_type == "Gemm" and _PLAIN | _options(node) == _PLAIN:
        node.op_type = "MatMul"
        del node.input[2:], node.attribute[:]
    ort.quantize_dynamic(folded, place, weight_type=ort.QuantType.QInt8)
    return onnx.load(place)


def _fp16(made: Any) -> Any:
  """Weights and what is computed in 16 bits; inputs and outputs stay as they are."""
  float16: Any = importlib.import_module("onnxruntime.transformers.float16")
  return float16.convert_float_to_float16(made, keep_io_types=True)


QUANTIZED = {"int8": _int8, "fp16": _fp16}
"""How weights can be quantized."""
