"""mtl_jax: multi-task learning in JAX.

One network learns several related tasks, and a balancer weighs their gradients against each other. The README starts
with an example; `help(mtl.balance)` and the like say what is in each part, `help(mtl.fit)` how a function is called.

To describe what is to be learned:

- `Net`: a trunk, a head or a whole multi-task model, as pure functions; `Cut`: its two halves.
- `from_linen`, `from_nnx`, `from_equinox`: a `Net` from a module of Flax or Equinox.
- `Task`: a loss, its mask and its metrics; `tasks`: ready-made ones.
- `Problem`: a net with its tasks and their inputs as one value.

To train it:

- `fit`: the whole loop, on arrays in memory; it returns a `Fit`.
- `objective`: the losses of all tasks as one function, an `Objective`.
- `make_train_step`, `init_train_state`, `TrainState`: one step, for a loop of your own.
- `make_bilevel_step`: a step whose weights are learned on validation data.
- `aggregate`, `TaskGradients`: a balancer as the first part of an optax chain, for task gradients of your own.
- `make_mesh`: the devices to train on.

To judge it, and to go on with it:

- `compare`: balancers against single-task training, with tables and pictures.
- `load`, `Trained`: the best model of a run.
- `delta_m`: the mean change against single-task training.
- `UserError`: what all mistakes of the user raise, told in one line.

The parts, each a module:

- `arch`: how trunk and heads are joined.
- `nn`: ready trunks and heads.
- `terms`: what training makes small beside the losses.
- `balance`: how task gradients are combined, one method a function.
- `bilevel`: methods that learn task weights on validation data.
- `engine`: how the gradients for a balancer are computed.
- `train`: the step, the loop, evaluation and prediction.
- `data`: batches, checks, descriptions and sources.
- `shard`: many devices and processes.
- `export`: trained models as files for other runtimes.
- `serve`: a trained model as a service over HTTP.
- `plan`: what a step would need of devices that are not here.
- `analysis`: conflict between tasks, and Delta_m.
- `recipes`: runnable experiments.
- `transfer`: pretrained weights, other runs to begin with, and what is trained of them.
- `compress`: models that take less room, and small ones that learn from large ones.
- `table`: tables of one's own, from a CSV file to a model beside simpler ones.

Two more are imported by their names: `mtl_jax.experiment`, which runs and compares recipes; `mtl_jax.cli`, the command
line.
"""

from mtl_jax import (
  analysis,
  arch,
  balance,
  bilevel,
  compress,
  data,
  engine,
  export,
  nn,
  plan,
  recipes,
  serve,
  shard,
  table,
  tasks,
  terms,
  train,
  transfer,
)
from mtl_jax._core.errors import UserError
from mtl_jax.adapters import from_equinox, from_linen, from_nnx
from mtl_jax.aggregate import TaskGradients, aggregate
from mtl_jax.analysis import delta_m
from mtl_jax.experiment import compare
from mtl_jax.net import Cut, Net
from mtl_jax.objective import Objective, objective
from mtl_jax.problem import Problem
from mtl_jax.shard import make_mesh
from mtl_jax.tasks import Task
from mtl_jax.train import Fit, Trained, TrainState, fit, init_train_state, load, make_bilevel_step, make_train_step

__all__ = [
  "Cut",
  "Fit",
  "Net",
  "Objective",
  "Problem",
  "Task",
  "TaskGradients",
  "TrainState",
  "Trained",
  "UserError",
  "aggregate",
  "analysis",
  "arch",
  "balance",
  "bilevel",
  "compare",
  "compress",
  "data",
  "delta_m",
  "engine",
  "export",
  "fit",
  "from_equinox",
  "from_linen",
  "from_nnx",
  "init_train_state",
  "load",
  "make_bilevel_step",
  "make_mesh",
  "make_train_step",
  "nn",
  "objective",
  "plan",
  "recipes",
  "serve",
  "shard",
  "table",
  "tasks",
  "terms",
  "train",
  "transfer",
]
