"""Compression: trained models that take less room, or do as well with fewer weights.

- `pruned`: an optimizer that sets the smallest weights to zero while it trains; `sparsity_at`: how many, and when.
- `PrunedState`: what it remembers.
- `zeros`: how much of a model is zero.
"""

from mtl_jax.compress.pruned import PrunedState, pruned, sparsity_at
from mtl_jax.compress.zeros import zeros

__all__ = ["PrunedState", "pruned", "sparsity_at", "zeros"]
