"""Gradient engines: how a balancer's statistics are obtained and its weights pulled back.

Each engine is a function that returns an `Engine`, for the option `engine=` of `mtl.fit` and `mtl.make_train_step`.
Without one they take `auto`.

Exact ones, which agree to rounding:

- `auto`: the cheapest of `losses`, `stacked` and `factored`, counted on your network.
- `losses`: one backward pass, for methods that read the losses alone.
- `stacked`: keeps all task gradients; serves every method.
- `gram`: reduces the task gradients to their inner products leaf by leaf, to save memory.
- `factored`: the same inner products without the gradients of dense kernels, to save time too.

Cheaper ones:

- `features`: balances the gradients at the shared features, for the price of one step.
- `sketched`: estimates the inner products, for many devices.
- `every`: runs another engine each k steps and uses its weights in between.

To write an engine, or to ask what one can do:

- `Engine`: its type.
- `missing`, `check_serves`: what a balancer needs and an engine lacks, and the error that says so.
- `names`: the names of all engines; `as_engine`: the engine that a name stands for.
"""

from mtl_jax.engine._engine import Engine, check_serves, missing
from mtl_jax.engine.auto import auto
from mtl_jax.engine.every import every
from mtl_jax.engine.factored import factored
from mtl_jax.engine.features import features
from mtl_jax.engine.gram import gram
from mtl_jax.engine.losses import losses
from mtl_jax.engine.named import as_engine, names
from mtl_jax.engine.sketched import sketched
from mtl_jax.engine.stacked import stacked

__all__ = [
  "Engine",
  "as_engine",
  "auto",
  "check_serves",
  "every",
  "factored",
  "features",
  "gram",
  "losses",
  "missing",
  "names",
  "sketched",
  "stacked",
]
