"""Trained models in the formats that people deploy, which need neither this library nor the run that they came from.

- `export`: writes a file or directory and a card beside it, and compares what it computes with what the model does.
- `Exported`: what was written, and how far the two are apart.
- `deployed`: the model as one function of arrays by name, which formats store; `Deployed`: its type.
- `FORMATS`: the formats, by name; `Format`: what each is; `check_quantize`: whether one can quantize weights.
"""

from mtl_jax.export.deployed import Deployed, deployed
from mtl_jax.export.export import Exported, check_quantize, export
from mtl_jax.export.formats import FORMATS, Format

__all__ = ["Deployed", "Exported", "FORMATS", "Format", "check_quantize", "deployed", "export"]
