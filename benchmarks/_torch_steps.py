"""The same training steps in PyTorch with TorchJD, where it is installed: MLP trunks only.

LibMTL's PCGrad is written out here from its description: T backward passes whose gradients are flattened and kept, and
projections of whole gradients in a loop on the host.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

AGGREGATORS = {"pcgrad": "PCGrad", "upgrad": "UPGrad", "mgda": "MGDA", "cagrad": "CAGrad", "nash": "NashMTL"}


def steps(workload: Any, method: str) -> dict[str, Callable[[], None]]:
  """Steps of `method` by configuration: rows one by one, at once, or the Gram matrix by autogram; {} if missing."""
  if workload.widths is None or not all(importlib.util.find_spec(name) for name in ("torch", "torchjd")):
    return {}
  torch = importlib.import_module("torch")
  autojac, autogram = importlib.import_module("torchjd.autojac"), importlib.import_module("torchjd.autogram")
  aggregation = importlib.import_module("torchjd.aggregation")
  nn, tasks = torch.nn, list(workload.tasks)
  options = {"cagrad": {"c": 0.5}, "nash": {"n_tasks": len(tasks)}}.get(method, {})

  x = torch.from_numpy(np.array(workload.batch["x"]))
  labels = [torch.from_numpy(np.array(workload.batch[task])) for task in tasks]
  binary = labels[0].dtype != torch.float32

  def build():
    torch.manual_seed(0)
    sizes = [x.shape[1], *workload.widths]
    layers = [layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    trunk = nn.Sequential(*layers)
    last = sizes[-1]
    head = (
      (lambda: nn.Linear(last, 1))
      if binary
      else (lambda: nn.Sequential(nn.Linear(last, 64), nn.ReLU(), nn.Linear(64, 1)))
    )
    heads = nn.ModuleList(head() for _ in tasks)
    optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()], lr=1e-3)
    return trunk, heads, optimizer

  def losses(heads, features):
    loss = nn.functional.binary_cross_entropy_with_logits if binary else nn.functional.mse_loss
    return [loss(h(features)[:, 0], y.float()) for h, y in zip(heads, labels, strict=True)]

  def equal():
    trunk, heads, optimizer = build()

    def step():
      optimizer.zero_grad()
      sum(losses(heads, trunk(x))).backward()
      optimizer.step()

    return step

  def rows(chunk):
    trunk, heads, optimizer = build()
    aggregator = getattr(aggregation, AGGREGATORS[method])(**options)

    def step():
      optimizer.zero_grad()
      features = trunk(x)
      autojac.mtl_backward(losses(heads, features), features=features, parallel_chunk_size=chunk)
      autojac.jac_to_grad(trunk.parameters(), aggregator)
      optimizer.step()

    return step

  def gramian():
    trunk, heads, optimizer = build()
    weighting = getattr(aggregation, f"{AGGREGATORS[method]}Weighting")(**options)
    engine = autogram.Engine(trunk, batch_dim=None)

    def step():
      optimizer.zero_grad()
      found = losses(heads, trunk(x))
      values = torch.stack(found)
      weights = weighting(engine.compute_gramian(values))
      values.backward(weights)
      optimizer.step()

    return step

  def projections():
    trunk, heads, optimizer = build()
    shared, order = list(trunk.parameters()), np.random.default_rng(0)

    def step():
      optimizer.zero_grad()
      found = losses(heads, trunk(x))
      jacobian = []
      for loss in found:
        loss.backward(retain_graph=True)
        jacobian.append(torch.cat([p.grad.flatten() for p in shared]))
        for p in shared:
          p.grad = None
      total = torch.zeros_like(jacobian[0])
      for i, gradient in enumerate(jacobian):
        projected = gradient.clone()
        for j in order.permutation(len(jacobian)):
          inner = projected @ jacobian[j]
          if j != i and inner < 0:
            projected -= inner / (jacobian[j] @ jacobian[j]) * jacobian[j]
        total += projected
      for p, g in zip(shared, total.split([p.numel() for p in shared]), strict=True):
        p.grad = g.view_as(p)
      optimizer.step()

    return step

  if method == "equal":
    return {"torch": equal()}
  made = {"torchjd rows in turn": rows(1), "torchjd rows at once": rows(None)}
  if method == "pcgrad":
    made["torch, LibMTL's algorithm"] = projections()
  if hasattr(aggregation, f"{AGGREGATORS[method]}Weighting") and method != "nash":
    made["torchjd autogram"] = gramian()
  return made


def peak_memory(step: Callable[[], None]) -> float:
  """What a step takes beyond the memory that the process holds between steps, in MiB; NaN where that is not told."""
  status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
  if not reset.exists():
    return float("nan")
  for _ in range(2):
    step()

  def kilobytes(field):
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))

  found = []
  for _ in range(3):
    before = kilobytes("VmRSS")
    reset.write_text("5")  # the peak begins anew
    step()
    found.append((kilobytes("VmHWM") - before) / 1024)
  return float(np.median(found))
