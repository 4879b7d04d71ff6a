"""Figures that others published for the data of recipes, to be read beside those measured here."""

from __future__ import annotations

from typing import Any

_DEEPCHEM = "README of DeepChem, October 2017: validation ROC-AUC, mean over tasks, random split, other parts than here"


def published(recipe: str) -> dict[str, Any]:
  """The source and its figures by method; empty for recipes without any."""
  return _FIGURES.get(recipe, {})


_FIGURES = {
  "tox21": {
    "source": _DEEPCHEM + "; in March 2017 it had 0.795 for the multi-task network",
    "figures": {
      "logistic regression": 0.735,
      "random forest": 0.763,
      "multi-task network on fingerprints": 0.754,
      "graph convolution": 0.832,
    },
  },
  "clintox": {
    "source": _DEEPCHEM,
    "figures": {
      "logistic regression": 0.734,
      "random forest": 0.730,
      "multi-task network on fingerprints": 0.793,
      "graph convolution": 0.908,
    },
  },
  "sider": {
    "source": _DEEPCHEM,
    "figures": {
      "logistic regression": 0.639,
      "random forest": 0.682,
      "multi-task network on fingerprints": 0.662,
      "graph convolution": 0.666,
    },
  },
  "toxcast": {
    "source": _DEEPCHEM,
    "figures": {
      "logistic regression": 0.538,
      "multi-task network on fingerprints": 0.676,
      "graph convolution": 0.732,
    },
  },
  "qm9": {
    "source": "NTKMTL, table 3: Delta_m in %, 110,000 molecules to train on and a network that sees all atoms",
    "figures": {
      "equal": 179.8,
      "scale_invariant": 39.7,
      "random": 222.6,
      "dwa": 173.0,
      "uncertainty": 58.4,
      "mgda": 101.4,
      "pcgrad": 118.6,
      "cagrad": 102.4,
      "nash": 72.9,
      "famo": 38.9,
      "fairgrad": 57.0,
    },
  },
  "nyuv2": {
    "source": "NTKMTL, table 1: Delta_m in %, over all metrics of the three tasks, 288 x 384 pixels, SegNet with MTAN",
    "figures": {
      "equal": 5.59,
      "mgda": 1.38,
      "pcgrad": 3.97,
      "cagrad": 0.20,
      "imtl_g": -0.76,
      "nash": -4.04,
      "famo": -4.10,
    },
  },
  "office31": {
    "source": "Rep-MTL, table 5: mean test accuracy in %, ResNet-18 of ImageNet, 224 x 224 pixels, the same parts",
    "figures": {
      "single-task": 93.03,
      "equal": 92.55,
      "uncertainty": 92.58,
      "dwa": 92.45,
      "mgda": 92.80,
      "gradnorm": 92.56,
      "pcgrad": 92.48,
      "cagrad": 92.04,
      "imtl_g": 92.20,
      "nash": 93.32,
    },
  },
  "joint_nlu": {
    "source": "README of JointBERT, BERT: intent accuracy and slot F1 in %",
    "figures": {"ATIS intent": 97.87, "ATIS slots": 95.59, "SNIPS intent": 99.14, "SNIPS slots": 96.90},
  },
}
