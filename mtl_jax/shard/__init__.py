"""Devices: meshes from one line, rules that say which device holds what, activations, several processes.

- `make_mesh`: a mesh of devices from a line such as `data=4,model=2`.

Which device holds which part of the parameters, the option `rules=` of `mtl.fit`:

- `replicated`: all hold everything.
- `fsdp`: parameters and optimizer state are divided.
- `zero`: the optimizer state is divided.
- `tensor_parallel`: the layers are divided over an axis of their own.
- `expert_parallel`: so are the experts and towers of an architecture.
- `row_wise`: so are the rows of embedding tables.
- `Rules`, `AnyRules`: rules of your own, and all that `rules=` takes.

For a loop of your own:

- `state_shardings`, `batch_sharding`: where a train state and batches live.
- `place`: brings arrays there.
- `constrain`, `constrain_gradients`: keep activations, and gradients, where they belong.

Several processes:

- `start_processes`: joins this process to the others.
- `is_first`: whether this is the one that writes.
- `wait_for_all`: waits until all have come to the same place.
"""

from mtl_jax.shard._constrain import constrain
from mtl_jax.shard._gradients import constrain_gradients
from mtl_jax.shard._mesh import make_mesh
from mtl_jax.shard._place import place
from mtl_jax.shard._rules import AnyRules, Rules, expert_parallel, fsdp, replicated, row_wise, tensor_parallel, zero
from mtl_jax.shard._shardings import batch_sharding, state_shardings
from mtl_jax.shard.processes import is_first, start_processes, wait_for_all

__all__ = [
  "AnyRules",
  "Rules",
  "batch_sharding",
  "constrain",
  "constrain_gradients",
  "expert_parallel",
  "fsdp",
  "is_first",
  "make_mesh",
  "place",
  "replicated",
  "row_wise",
  "start_processes",
  "state_shardings",
  "tensor_parallel",
  "wait_for_all",
  "zero",
]
