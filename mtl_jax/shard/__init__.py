"""Devices: meshes from one line, rules that say which device holds what, activations, several processes."""

from mtl_jax.shard._constrain import constrain as constrain
from mtl_jax.shard._gradients import constrain_gradients as constrain_gradients
from mtl_jax.shard._mesh import make_mesh as make_mesh
from mtl_jax.shard._place import place as place
from mtl_jax.shard._rules import AnyRules as AnyRules
from mtl_jax.shard._rules import Rules as Rules
from mtl_jax.shard._rules import fsdp as fsdp
from mtl_jax.shard._rules import replicated as replicated
from mtl_jax.shard._rules import tensor_parallel as tensor_parallel
from mtl_jax.shard._rules import zero as zero
from mtl_jax.shard._shardings import batch_sharding as batch_sharding
from mtl_jax.shard._shardings import state_shardings as state_shardings
from mtl_jax.shard.processes import is_first as is_first
from mtl_jax.shard.processes import start_processes as start_processes
from mtl_jax.shard.processes import wait_for_all as wait_for_all
