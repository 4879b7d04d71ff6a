"""`mtl-jax export`: the best model of a run in a format that people deploy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mtl_jax._core.errors import UserError
from mtl_jax.cli.training import Dotted, only

EXAMPLES = 16
"""On how many examples file and model are compared."""


@dataclasses.dataclass(frozen=True)
class Export:
  """Write the best model of a run as what needs neither this library nor the run, and a card that explains it.

  What is written is read again by its own runtime and compared with the model before the command says that it is done.
  The format safetensors is for this library: the directory opens wherever that of the run does, such as in `predict`.

  For example

    mtl-jax export runs/digits-pcgrad-0
    mtl-jax export runs/digits-pcgrad-0 --format onnx --tasks left --output left.onnx
    mtl-jax export runs/digits-pcgrad-0 --format tflite --quantize int8
  """

  run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
  """The run directory."""
  format: Literal["onnx", "safetensors", "savedmodel", "stablehlo", "tflite"] = "stablehlo"
  """stablehlo: for JAX alone, on CPU, GPU and TPU; onnx: for ONNX Runtime; savedmodel: a directory for TensorFlow;
  tflite: for LiteRT; safetensors: a directory for this library and the hub of Hugging Face. All but stablehlo, which is
  the extra `export`, are extras of their own names."""
  output: Path | None = None
  """The file or directory to write, beside it OUTPUT.json (default: model.FORMAT)."""
  tasks: tuple[str, ...] = ()
  """Keep these tasks only (default: all)."""
  batch_size: int | None = None
  """The number of examples that it takes at once (default: any, which not every format can store of every model;
  tflite: 1)."""
  quantize: Literal["int8", "fp16"] | None = None
  """Weights in fewer bits, in onnx and tflite; how far outputs are then off is told."""
  input: Path | None = None
  """Examples to compare by, a file or folder as `predict` reads it (default: the first of the recipe's test data)."""
  recipe: str | None = None
  """The recipe of a run of your own: my.py, my.py:FUNCTION or package.module:FUNCTION, which is never run unasked."""

  def execute(self, dotted: Dotted) -> None:
    """Runs the command."""
    from mtl_jax._core.npz import check_writable
    from mtl_jax.experiment.files import files_of, own_files
    from mtl_jax.experiment.trained import about_run, open_trained, recipe_of
    from mtl_jax.export import FORMATS, check_quantize, export

    only(dotted, [])
    output = self.output or Path(f"model{FORMATS[self.format].suffix}")
    check_quantize(self.format, self.quantize)
    if not output.is_dir():
      check_writable(output)
    recipe = recipe_of(self.run, self.recipe)
    trained = open_trained(self.run, recipe)
    if self.input is None:
      arrays = _first(recipe.data(0).only(list(trained.problem.tasks)).test, trained)
    else:
      arrays = files_of(own_files(recipe, trained), trained, self.input).read(self.input, ())[0]
    wishes = {"tasks": self.tasks or None, "batch": self.batch_size, "quantize": self.quantize}
    done = export(trained, output, arrays, format=self.format, **wishes, about=about_run(trained, recipe))
    at_once = f"{done.batch} at a time" if done.batch else "any number at a time"
    print(
      f"{done.path}: {done.size / 1e6:.1f} MB; takes examples {at_once}; read again by its own runtime, on "
      f"{done.examples} examples it differs from the model by at most {done.difference:.1e}\n"
      f"{done.card}: inputs, outputs, classes, units, test scores, versions"
    )


def _first(data: Any, trained: Any) -> dict[str, Any]:
  """Some examples of a data set or mixture."""
  import numpy as np

  from mtl_jax.data import Mixture, as_source

  if isinstance(data, Mixture):
    raise UserError("export: tasks of this recipe have examples of their own: name some to compare by, --input FILE.")
  source = as_source(data)
  return dict(source.rows(np.arange(min(EXAMPLES, len(source)))))
