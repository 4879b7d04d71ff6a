"""TorchJD's methods by the names of this library, where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

DRAWS = 2000  # of random methods, whose mean is compared
MISSING = "TorchJD is not installed: `pip install torch torchjd cvxpy ecos` for its columns."


def gram_weightings() -> tuple[dict[str, Callable[[], Callable[[np.ndarray], Any]]], str]:
  """Factories of `Gram matrix -> weights`, and what to know of them or that they are missing.

  Those of Nash-MTL and ConFIG, which work on gradients, get a root of the matrix, (T, T).
  """
  if not _is_installed():
    return {}, MISSING
  torch, peer = importlib.import_module("torch"), importlib.import_module("torchjd.aggregation")

  def of_gram(make):
    def factory():
      weighting = make()
      return lambda gram: weighting(torch.from_numpy(gram))

    return factory

  def of_root(make):
    def factory():
      def weigh(gram):
        values, vectors = np.linalg.eigh(gram)
        root = (vectors * np.sqrt(np.maximum(values, 0.0))).astype(np.float32)
        with warnings.catch_warnings():
          warnings.simplefilter("ignore")  # of cvxpy, about inaccurate solutions
          return make(len(gram))(torch.from_numpy(root))

      return weigh

    return factory

  found = {
    "upgrad": of_gram(peer.UPGradWeighting),
    "dualproj": of_gram(peer.DualProjWeighting),
    "mgda": of_gram(peer.MGDAWeighting),
    "cagrad": of_gram(lambda: peer.CAGradWeighting(c=0.5)),
    "fairgrad": of_gram(lambda: peer.FairGradWeighting(alpha=1.0)),
    "aligned": of_gram(peer.AlignedMTLWeighting),
    "pcgrad": of_gram(peer.PCGradWeighting),
    "config": of_root(lambda tasks: peer.ConFIG()),
  }
  if importlib.util.find_spec("cvxpy"):
    found["nash"] = of_root(lambda tasks: peer.NashMTL(n_tasks=tasks))
  return found, f"TorchJD {_version()}, torch {torch.__version__}."


def aggregators(tasks: int) -> tuple[dict[str, Callable[[np.ndarray], np.ndarray]], str]:
  """`gradients (T, P) -> update (P,)` by method, each call from the first state, in float32."""
  if not _is_installed():
    return {}, MISSING
  torch, peer = importlib.import_module("torch"), importlib.import_module("torchjd.aggregation")
  makers = {
    "equal": peer.Sum,
    "mgda": peer.MGDA,
    "upgrad": peer.UPGrad,
    "dualproj": peer.DualProj,
    "cagrad": lambda: peer.CAGrad(c=0.5),
    "nash": lambda: peer.NashMTL(n_tasks=tasks),
    "fairgrad": lambda: peer.FairGrad(alpha=1.0),
    "aligned": peer.AlignedMTL,
    "imtl_g": peer.IMTLG,
    "config": peer.ConFIG,
    "pcgrad": peer.PCGrad,
    "gradvac": peer.GradVac,
    "pcd": peer.PCD,
    "excess": lambda: peer.ExcessMTL(robust_step_size=1.0),
  }
  if tasks >= 4:
    makers["krum"] = lambda: peer.Krum(n_byzantine=1, n_selected=2)
    makers["trimmed_mean"] = lambda: peer.TrimmedMean(trim_number=1)
  if not importlib.util.find_spec("cvxpy"):
    del makers["nash"]

  def of(make):
    def aggregate(gradients):
      with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()(torch.from_numpy(gradients)).numpy()

    return aggregate

  def of_matrix(make):
    def aggregate(gradients):
      rows = torch.from_numpy(gradients)
      return (make()(rows @ rows.T) @ rows).numpy()

    return aggregate

  def mean_of_draws(gradients):
    torch.manual_seed(0)
    rows, drop = torch.from_numpy(gradients), peer.GradDrop()
    return torch.stack([drop(rows) for _ in range(DRAWS)]).mean(dim=0).numpy()

  found = {name: of(make) for name, make in makers.items()}
  found["modo"] = of_matrix(lambda: peer.MoDoWeighting(gamma=0.01, rho=0.1))
  found["sdmgrad"] = of_matrix(lambda: peer.SDMGradWeighting(lr=0.5))
  found["graddrop"] = mean_of_draws
  return found, f"TorchJD {_version()}, torch {torch.__version__}."


def scalarizers(tasks: int, preference: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
  """`losses (T,) -> the gradient of the scalar (T,)` by method, each call from the first state."""
  if not _is_installed():
    return {}
  torch, peer = importlib.import_module("torch"), importlib.import_module("torchjd.scalarization")
  makers = {
    "geometric": peer.GeometricMean,
    "cosmos": lambda: peer.COSMOS(2.0, torch.from_numpy(preference)),
    "pbi": lambda: peer.PBI(5.0, torch.from_numpy(preference)),
    "imtl_l": lambda: peer.IMTLL(tasks),
    "uncertainty": lambda: peer.UW(tasks),
    "famo": lambda: peer.FAMO(tasks),
    "dwa": peer.DWA,
  }

  def of(make):
    def gradient(losses):
      values = torch.from_numpy(losses).requires_grad_()
      make()(values).backward()
      return values.grad.numpy()

    return gradient

  return {name: of(make) for name, make in makers.items()}


def _is_installed() -> bool:
  return all(importlib.util.find_spec(name) for name in ("torch", "torchjd"))


def _version() -> str:
  return importlib.import_module("importlib.metadata").version("torchjd")
