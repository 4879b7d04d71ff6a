"""The page of architectures and its pictures, made from the code: `make reference` writes them anew.

Of each architecture it has what its docstring says of formula, use and paper, a picture, and its cost on one small
problem, against `hard_sharing`.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import mtl_jax as mtl
from docs import reference
from mtl_jax.analysis import Part, parts, plots
from mtl_jax.experiment.options import without_options

DOCS = Path(__file__).parent
PICTURES = DOCS / "architectures"
BEGIN = """# Architectures

How trunk and heads are joined into one network: functions of `mtl.arch`, each in a file of its own, which take any
trunk and heads. In Python `mtl.arch.mmoe(trunk, heads, experts=8)`, on the command line `--arch mmoe --arch.experts 8`
of `mtl-jax train`, `compare` and `plan`; `mtl-jax describe RECIPE --arch mmoe` draws the network of a recipe.
What each argument does: [api/mtl_jax.arch.md](api/mtl_jax.arch.md). How they fare on two data sets:
[benchmarks/results/architectures.md](../benchmarks/results/architectures.md). This page is written by
`docs/architectures.py`.

## Cost

Parameters and floating-point operations of a forward pass, over those of `hard_sharing`, for three tasks on a trunk of
three layers of 64, with default options."""


def problem() -> tuple[mtl.Net, dict[str, mtl.Net], jax.ShapeDtypeStruct]:
  """The trunk, the heads and the input that costs and pictures are taken with."""
  heads = {name: mtl.from_linen(mtl.nn.MLP((), 1)) for name in ("a", "b", "c")}
  return mtl.from_linen(mtl.nn.MLP((64, 64, 64))), heads, jax.ShapeDtypeStruct((32, 64), jnp.float32)


def found() -> dict[str, list[Part]]:
  """The parts of each architecture that can be made of this trunk."""
  trunk, heads, x = problem()
  made = {}
  for name in without_options(mtl.arch):
    try:
      made[name] = parts(getattr(mtl.arch, name)(trunk, heads), x)
    except mtl.UserError:  # it works on sequences alone, for example
      continue
  return made


def cost(made: dict[str, list[Part]]) -> Iterator[str]:
  """The table of costs."""

  def of(name):
    return sum(part.parameters for part in made[name]), sum(part.flops or 0 for part in made[name])

  base, work = of("hard_sharing")
  yield "| | parameters | FLOPs |\n|---|---|---|"
  for name in mtl.arch.names():
    if name in made:
      parameters, flops = of(name)
      yield f"| [`{name}`](#{name}) | {parameters / base:.2f} | {flops / work:.1f} |"


def entry(name: str, thing: Any) -> str:
  """What the docstring of an architecture says, and its picture."""
  sections = reference.sections(thing)
  titled = {each.title: each.value.description for each in sections if each.kind.value == "admonition"}

  def paragraph(title, text):
    return textwrap.fill(f"**{title}** {text}", 120, break_on_hyphens=False)

  told = [f"## {name}", sections[0].value, paragraph("When to use it.", titled["When to use"])]
  picture = PICTURES / f"{name}.png"
  if picture.exists():
    told.append(f"![{name}]({picture.relative_to(DOCS)})")
  return "\n\n".join([*told, paragraph("Paper.", titled["References"])])


def page(made: dict[str, list[Part]]) -> str:
  """The page."""
  module = reference.public_modules()["mtl_jax.arch"]
  entries = [entry(name, reference.definition(module, name)) for name in mtl.arch.names()]
  return "\n\n".join([BEGIN, "\n".join(cost(made)), *entries]) + "\n"


def main() -> None:
  """Writes page and pictures."""
  made = found()
  PICTURES.mkdir(exist_ok=True)
  for name, own in made.items():
    plots.network(PICTURES / f"{name}.png", own, name)
  (DOCS / "architectures.md").write_text(page(made))


if __name__ == "__main__":
  sys.exit(main())
