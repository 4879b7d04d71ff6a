"""Trained models in the formats that people deploy: a file that needs neither this library nor the run it came from.

- `export`: writes the file and a card beside it, and compares what the file computes with what the model does.
- `Exported`: what was written, and how far the two are apart.
- `deployed`: the model as one function of arrays by name, which formats store; `Deployed`: its type.
- `FORMATS`: the formats, by name; `Format`: what each is.
"""

from mtl_jax.export.deployed import Deployed, deployed
from mtl_jax.export.export import Exported, export
from mtl_jax.export.formats import FORMATS, Format

__all__ = ["Deployed", "Exported", "FORMATS", "Format", "deployed", "export"]
