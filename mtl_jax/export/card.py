"""What a reader of a model that is exported or served needs to know, as JSON and as a page."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Mapping
from typing import Any

import jax

from mtl_jax.export.deployed import Deployed

_PACKAGES = ("mtl-jax", "jax", "flax")


def card_of(model: Deployed, batch: int | None = None) -> dict[str, Any]:
  """The card.

  Args:
    model: The model.
    batch: The number of examples that it takes; None: any.

  Returns:
    JSON: tasks, inputs, outputs, what the data say of themselves, such as classes and units, what the model reaches on
    test data where its run tells, and versions.
  """
  return {
    "tasks": list(model.tasks),
    "inputs": _shapes(model.inputs, batch),
    "outputs": _shapes(model.outputs, batch),
    "step": model.trained.step,
    "data": json.loads(json.dumps(model.trained.data.about)),
    "test": _test(model),
    "versions": {package: importlib.metadata.version(package) for package in _PACKAGES},
  }


def readme(model: Deployed) -> str:
  """The card as a page in Markdown, as hubs of models show it.

  Args:
    model: The model.

  Returns:
    The page; it names no licence, which is for whoever publishes the model to choose.
  """
  card, recipe = card_of(model), model.trained.kept.config.get("recipe")
  known = {name: values for name, values in card["data"].items() if len(json.dumps(values)) <= _LONG}
  trained_by = f", trained by `mtl-jax train {recipe}`" if isinstance(recipe, str) else ""
  tested = [[task, metric, f"{value:.4g}"] for task, own in card["test"].items() for metric, value in own.items()]
  parts = [
    _HEAD,
    f"Tasks: {', '.join(f'`{name}`' for name in model.tasks)}{trained_by}; the parameters of step {card['step']}.",
    _USE,
    _table("Inputs", ("input", "shape", "dtype"), _rows(card["inputs"])),
    _table("Outputs", ("output", "shape", "dtype"), _rows(card["outputs"])),
    _table("Test data", ("task", "metric", "value"), tested),
    "## Data\n\n```json\n" + json.dumps(known, indent=2) + "\n```" if known else "",
    "Made with " + ", ".join(f"{name} {version}" for name, version in card["versions"].items()) + ".",
  ]
  return "\n\n".join(filter(None, parts)) + "\n"


_LONG = 2000
"""What the data say of themselves in more characters, such as a vocabulary, is left to `data.json`."""
_HEAD = """---
library_name: mtl-jax
tags: [mtl-jax, jax, flax, multi-task-learning]
# license: which one is for you to choose
---

# Model card"""
_USE = """```sh
pip install 'mtl-jax[safetensors]'
mtl-jax predict THIS_DIRECTORY --input FILE
mtl-jax evaluate THIS_DIRECTORY
```

A model of a recipe of your own needs `--recipe FILE.py`. In Python: `mtl_jax.load(directory, net, tasks)`, with the net
and the tasks of the run."""


def _shapes(leaves: Mapping[str, jax.ShapeDtypeStruct], batch: int | None) -> dict[str, Any]:
  return {name: {"shape": [batch, *leaf.shape], "dtype": str(leaf.dtype)} for name, leaf in leaves.items()}


def _test(model: Deployed) -> dict[str, dict[str, float]]:
  """The finite test metrics; JSON holds no others."""
  found = model.trained.kept.test
  own = {name: found[name] for name in model.tasks if name in found}
  return {name: {key: value for key, value in values.items() if math.isfinite(value)} for name, values in own.items()}


def _rows(shapes: Mapping[str, Any]) -> list[list[str]]:
  return [
    [f"`{name}`", ", ".join("N" if size is None else str(size) for size in own["shape"]), own["dtype"]]
    for name, own in shapes.items()
  ]


def _table(title: str, header: tuple[str, ...], rows: list[list[str]]) -> str:
  lines = (f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])
  return f"## {title}\n\n" + "\n".join(lines) if rows else ""
