"""Compression: models that take less room, and small ones that learn from large ones.

- `pruned`: an optimizer that sets the smallest weights to zero while it trains; `sparsity_at`: how many, and when.
- `PrunedState`: what it remembers.
- `zeros`: how much of a model is zero.
- `distilled`: tasks and data with which a model learns from trained ones; `Distilled`: both.
"""

from mtl_jax.compress.distilled import Distilled, distilled
from mtl_jax.compress.pruned import PrunedState, pruned, sparsity_at
from mtl_jax.compress.zeros import zeros

__all__ = ["Distilled", "PrunedState", "distilled", "pruned", "sparsity_at", "zeros"]
