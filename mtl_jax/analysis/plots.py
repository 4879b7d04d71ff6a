"""Pictures: learning curves, Delta_m bars, task-gradient cosines over time, networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax._core.extras import extra
from mtl_jax.analysis.parts import Part

History = Sequence[Mapping[str, Any]]


def figure_of(*args: Any, **kwargs: Any) -> Any:
  """A figure that needs no screen; raises a `UserError` where matplotlib is not installed."""
  with extra("plots", "pictures need matplotlib"):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
  figure = Figure(*args, layout="constrained", **kwargs)
  FigureCanvasAgg(figure)
  return figure


def series(history: History, kind: str, key: str) -> tuple[list[int], list[Any]]:
  """The steps and values of one logged quantity."""
  points = [(line["step"], line[key]) for line in history if line["kind"] == kind and line.get(key) is not None]
  return [step for step, _ in points], [value for _, value in points]


def learning_curves(path: Path, histories: Mapping[str, History], metrics: Mapping[str, str]) -> None:
  """One panel per task: its validation metric over steps, one line per run.

  Args:
    path: The PNG to write.
    histories: `{run: history}`; a run without some task is left out of that panel.
    metrics: `{task: metric}`.
  """
  figure = figure_of(figsize=(4.2 * len(metrics), 3.4))
  axes = figure.subplots(1, len(metrics), squeeze=False)[0]
  for axis, (task, metric) in zip(axes, metrics.items(), strict=True):
    for name, history in histories.items():
      steps, values = series(history, "valid", f"{task}/{metric}")
      if steps:
        axis.plot(steps, values, marker=".", label=name)
    axis.set(title=task, xlabel="step", ylabel=f"validation {metric}")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
  figure.savefig(path, dpi=120)


def delta_m_bars(path: Path, values: Mapping[str, Sequence[float]]) -> None:
  """Delta_m of each method, mean and standard error over seeds; below zero beats single-task training."""
  figure = figure_of(figsize=(1.4 + 1.1 * len(values), 3.4))
  axis = figure.subplots()
  means = [float(np.mean(v)) for v in values.values()]
  errors = [standard_error(v) for v in values.values()]
  colors = ["tab:green" if mean < 0 else "tab:red" for mean in means]
  axis.bar(list(values), means, yerr=np.nan_to_num(errors), capsize=4, color=colors, alpha=0.8)
  axis.axhline(0.0, color="black", linewidth=0.8)
  axis.set(ylabel=r"$\Delta_m$ in % (lower is better)", title="change against single-task training")
  axis.tick_params(axis="x", rotation=20)
  figure.savefig(path, dpi=120)


def cosine_heat_map(path: Path, histories: Mapping[str, History]) -> None:
  """The cosines between task gradients over training: a row a pair of tasks, a column an evaluation, a panel a run."""
  tables = {}
  for name, history in histories.items():
    lines = [line for line in history if line["kind"] == "probe"]
    pairs = [key for key in lines[0] if "," in key] if lines else []
    if pairs:
      tables[name] = ([line["step"] for line in lines], pairs, np.array([[line[p] for line in lines] for p in pairs]))
  if not tables:
    return
  height = max(len(pairs) for _, pairs, _ in tables.values())
  figure = figure_of(figsize=(9, len(tables) * (1.1 + 0.3 * height)))
  axes = figure.subplots(len(tables), 1, squeeze=False)[:, 0]
  limit = max(0.25, max(float(np.abs(table.astype(float)).max()) for _, _, table in tables.values()))
  image = None
  for axis, (name, (steps, pairs, table)) in zip(axes, tables.items(), strict=True):
    image = axis.imshow(table.astype(float), aspect="auto", cmap="RdBu", vmin=-limit, vmax=limit)
    axis.set_xticks(range(len(steps)), [str(step) for step in steps])
    axis.set_yticks(range(len(pairs)), [pair.replace(",", " · ") for pair in pairs])
    axis.set_title(name)
  axes[-1].set_xlabel("step")
  figure.colorbar(image, ax=list(axes), label="cosine (red: conflict)")
  figure.savefig(path, dpi=120)


def reports(path: Path, histories: Mapping[str, History]) -> bool:
  """What nets report of themselves, such as gates, over steps: one panel per quantity and run, one line per entry.

  Args:
    path: The PNG to write.
    histories: `{run: history}`; runs whose nets report nothing have no panel.

  Returns:
    Whether there was anything to draw.
  """
  panels = [
    (name, key)
    for name, history in histories.items()
    for key in sorted({key for line in history for key in line if key.startswith("net/")})
  ]
  if not panels:
    return False
  figure = figure_of(figsize=(4.2 * len(panels), 3.4))
  for axis, (name, key) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
    steps, values = series(histories[name], "train", key)
    axis.plot(steps, np.reshape(np.asarray(values, np.float64), (len(steps), -1)))
    axis.set(title=f"{name}: {key.removeprefix('net/')}", xlabel="step")
    axis.grid(alpha=0.3)
  figure.savefig(path, dpi=120)
  return True


def standard_error(values: Sequence[float]) -> float:
  """The standard error of the mean; NaN for a single value.

  >>> standard_error([1.0, 3.0])
  1.0
  """
  return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def network(path: Path, found: Sequence[Part], title: str) -> None:
  """A net as a picture: what is shared at the bottom, from the input up, and the tasks side by side above it.

  Args:
    path: The PNG to write.
    found: The parts of the net, as `parts` gives them; at most twelve tasks are drawn, and how many more there are.
    title: The title.
  """
  shared = [part for part in found if part.name.startswith("shared")]
  tasks = [part for part in found if not part.name.startswith("shared")]
  shown, rest = tasks[:12], len(tasks) - 12
  width, height = max(len(shown) + (rest > 0), 3), len(shared) + 2
  figure = figure_of(figsize=(1.5 * width, 0.9 * height + 0.6))
  axis = figure.subplots()
  box = {"boxstyle": "round,pad=0.45", "edgecolor": "black", "linewidth": 0.8}
  arrow = {"arrowstyle": "-|>", "color": "gray", "shrinkA": 14, "shrinkB": 14}

  def draw(x: float, y: float, text: str, color: str) -> None:
    axis.text(x, y, text, ha="center", va="center", fontsize=8, bbox={**box, "facecolor": color})

  middle = (width - 1) / 2
  draw(middle, 0, "input", "white")
  for i, part in enumerate(shared):
    axis.annotate("", (middle, i + 1), (middle, i), arrowprops=arrow)
    draw(middle, i + 1, f"{part.name}\n{part.parameters:,}", "lightsteelblue")
  first = (width - len(shown) - (rest > 0)) / 2
  for i, part in enumerate(shown):
    axis.annotate("", (first + i, height - 1), (middle, len(shared)), arrowprops=arrow)
    draw(first + i, height - 1, f"{part.name.removeprefix('task/')}\n{part.parameters:,}", "moccasin")
  if rest > 0:
    draw(first + len(shown), height - 1, f"{rest} more", "white")
  axis.set(xlim=(-0.7, width - 0.3), ylim=(-0.6, height - 0.4), title=title)
  axis.axis("off")
  figure.savefig(path, dpi=120)
