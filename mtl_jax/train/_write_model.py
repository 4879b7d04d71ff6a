"""`write_model`: a trained model as a directory that opens like the run it is from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax._core.files import using
from mtl_jax.train._in_file import FILE, content_of
from mtl_jax.train._load import Trained
from mtl_jax.train.kept import write_calibration, write_test
from mtl_jax.train.log import write_json
from mtl_jax.train.run_dir import CONFIG, DATA, MODEL, Model


def write_model(trained: Trained, directory: str | Path, tasks: Sequence[str] | None = None) -> None:
  """Writes a model as what `mtl.load` needs of a run: `model.safetensors`, and files of JSON that say what it is.

  The directory opens by the same calls and commands as the run: by `mtl.load` with the net and the tasks of the run,
  by `mtl-jax predict` and `evaluate`. There are no checkpoints in it, so that the run cannot go on.

  Args:
    trained: The model, of `mtl.load`, with its tasks.
    directory: Where to; made if it is not there.
    tasks: The tasks to keep; None: all. Of nets without a cut all arrays are kept.

  Raises:
    UserError: There is no such task, the model was opened without tasks, the package safetensors is missing, or the
      directory cannot be written to.

  >>> import tempfile, flax.linen as nn, jax, jax.numpy as jnp, mtl_jax as mtl
  >>> net = mtl.arch.hard_sharing(mtl.from_linen(nn.Dense(4)), {"size": mtl.from_linen(nn.Dense(1))})
  >>> x, problem = jnp.ones((2, 3)), mtl.Problem(net, {"size": mtl.tasks.regression("size")})
  >>> trained = Trained(problem, *net.init(jax.random.key(0), x), step=9, data=mtl.data.describe({"x": x}))
  >>> with tempfile.TemporaryDirectory() as directory:
  ...   write_model(trained, directory)
  ...   again = mtl.load(directory, problem)
  >>> again.step, bool((again.predict({"x": x})["size"]["value"] == trained.predict({"x": x})["size"]["value"]).all())
  (9, True)
  """
  names = list(trained.problem.tasks if tasks is None else tasks)
  if not names:
    raise UserError("write_model: the model was opened without its tasks, or none is named.")
  own, directory = trained.only(names), Path(directory)
  params, state = (_with_heads(tree, own) for tree in (own.params, own.state))
  content, config = content_of(params, state), own.kept.config
  config = {**config, "fit": {"tasks": list(trained.problem.tasks), **config.get("fit", {})}}
  said = Model(own.step, tuple(names), hashlib.sha256(content).hexdigest())
  with using(directory):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FILE).write_bytes(content)
  write_json(directory / DATA, own.data.as_json())
  for write, values in ((write_calibration, own.kept.calibration), (write_test, own.kept.test)):
    if kept := {name: values[name] for name in names if name in values}:
      write(directory, own.step, kept)
  write_json(directory / CONFIG, config | {MODEL: said._asdict()})  # last: before, it holds no model


def _with_heads(tree: Mapping[str, Any], own: Trained) -> Mapping[str, Any]:
  """Parameters or state, of a net with a cut without the heads of other tasks."""
  if own.problem.net.cut is None:
    return tree
  return {**tree, "task": {name: tree["task"][name] for name in own.problem.tasks}}
