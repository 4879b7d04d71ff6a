"""Tables of one's own: from a CSV file or a frame to a multi-task model that can be trusted.

- `fit`: trains one network for several columns, from all others, beside simpler models.
- `Model`: what it gives, for predictions; `load`: that of a run again.
- `Estimator`: the same as an estimator of scikit-learn.
"""

from mtl_jax.table.estimator import Estimator
from mtl_jax.table.fit import fit
from mtl_jax.table.model import Model, load

__all__ = ["Estimator", "Model", "fit", "load"]
