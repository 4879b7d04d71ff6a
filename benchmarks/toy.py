"""Which balancers reach the Pareto front of the toy problem of the CAGrad and Nash-MTL papers, and how.

`python benchmarks/toy.py`: about a minute on a laptop. Adam from five starting points, learning rate and steps as in
the Nash-MTL paper (`--scale 1 --steps 100000` are those of the CAGrad paper); a table, and a picture with the ways.
"""

from __future__ import annotations

import inspect
import time
from pathlib import Path

import jax
import numpy as np
import tyro
from _markdown import table
from _toy_problem import REACHED, STARTS, descend, distance, front, objectives

import mtl_jax as mtl
from mtl_jax.experiment.options import build_balancer

EXTENT = 11.0


def methods() -> list[str]:
  """Equal weighting and all balancers of the Gram matrix that take two tasks without further options."""
  found = ["equal"]
  for name in mtl.balance.names():
    make = getattr(mtl.balance, name)
    if all(p.default is not p.empty for p in inspect.signature(make).parameters.values()):
      needs = make().needs
      if "gram" in needs and "losses" not in needs:  # these losses are negative in places
        found.append(name)
  return found


def picture(ways: dict[str, np.ndarray], scale: float, path: Path) -> None:
  """One panel a method: contours of the sum of the objectives, the front, the ways from the starts."""
  from matplotlib.figure import Figure

  axis = np.linspace(-EXTENT, EXTENT, 200)
  grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
  heights = np.asarray(jax.vmap(lambda x: objectives(x, scale))(grid)).sum(axis=1).reshape(200, 200)
  columns = 6
  rows = -(-len(ways) // columns)
  figure = Figure(figsize=(1.5 * columns, 1.6 * rows), layout="constrained")
  panels = figure.subplots(rows, columns, squeeze=False).ravel()
  for panel in panels:
    panel.set_axis_off()
  for panel, (name, points) in zip(panels, ways.items(), strict=False):
    panel.set_axis_on()
    panel.contour(axis, axis, heights, levels=12, colors="0.8", linewidths=0.5, linestyles="solid")
    panel.plot(*front().T, color="0.45", linewidth=3, solid_capstyle="butt")
    for way, reached in zip(points, distance(points[:, -1]) <= REACHED, strict=True):
      panel.plot(*way.T, color="tab:blue" if reached else "tab:red", linewidth=1)
      panel.plot(*way[0], "o", color="black", markersize=2.5)
      panel.plot(*way[-1], "*", color="tab:blue" if reached else "tab:red", markersize=5, zorder=3)
    panel.set(xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), xticks=[], yticks=[], aspect="equal")
    panel.set_title(name, fontsize=8, pad=2)
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=130)


def main(
  names: tyro.conf.Positional[tuple[str, ...]] = (),
  steps: int = 35_000,
  learning_rate: float = 1e-3,
  scale: float = 0.1,
  output: Path = Path("docs/toy.png"),
) -> None:
  """Prints where each method ends, and draws the ways there.

  Args:
    names: Balancers; none: all of the Gram matrix, and equal weighting.
    steps: Of Adam, a multiple of 250.
    learning_rate: Of Adam.
    scale: Of the first objective.
    output: The picture.
  """
  ways, lines = {}, []
  for name in names or methods():
    begin = time.perf_counter()
    ways[name] = descend(build_balancer(name), steps, learning_rate, scale)
    seconds = time.perf_counter() - begin
    ends = ways[name][:, -1]
    values = np.asarray(jax.vmap(lambda x: objectives(x, scale))(ends))
    cells = [
      f"{f1:.2f}, {f2:.2f}" + (f" ({far:.1f} away)" if far > REACHED else "")
      for (f1, f2), far in zip(values, distance(ends), strict=True)
    ]
    lines.append([name, *cells])
    print(f"{name}: {seconds:.0f} s", flush=True)
  print("\nWhere each start ends: f1, f2, and how far from the front where that is not reached.\n")
  print(table(["method", *(f"from ({a:g}, {b:g})" for a, b in STARTS)], lines))
  picture(ways, scale, output)


if __name__ == "__main__":
  tyro.cli(main)
