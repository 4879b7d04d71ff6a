"""Rules: where each array of a train state is placed, and what is refused. No devices: an abstract mesh will do."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P

import mtl_jax as mtl
from mtl_jax.shard._shardings import specs_of

MESH = AbstractMesh((4, 2), ("data", "model"))


def _state(trunk, tx, x=(8, 6)):
  net = mtl.arch.hard_sharing(mtl.from_linen(trunk), {"y": mtl.from_linen(mtl.nn.MLP((), out=1))})
  tasks = {"y": mtl.tasks.regression("y")}
  batch = {"x": jnp.ones(x), "y": jnp.ones(8)}

  def create(key):
    return mtl.init_train_state(net, tasks, mtl.balance.gradnorm(), tx, batch, key)

  return jax.eval_shape(create, jax.random.key(0))


def _specs(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.spec for path, leaf in leaves}


def _place(rules, trunk=None, tx=None, x=(8, 6)):
  tx = optax.adam(0.1) if tx is None else tx
  trunk = mtl.nn.MLP((16, 32)) if trunk is None else trunk
  found = mtl.shard.state_shardings(_state(trunk, tx, x), tx, MESH, rules)
  return _specs(found), _specs(found.params)


def test_replicated_is_everything_everywhere():
  for rules in (None, "replicated", mtl.shard.replicated(), []):
    assert set(_place(rules)[0].values()) == {P()}


def test_fsdp_divides_the_largest_dimension_that_the_axis_divides():
  every, params = _place(mtl.shard.fsdp(min_size=32))
  assert params == {
    "shared/Dense_0/bias": P(),
    "shared/Dense_0/kernel": P(None, "data"),  # (6, 16)
    "shared/Dense_1/bias": P("data"),
    "shared/Dense_1/kernel": P(None, "data"),  # (16, 32)
    "task/y/Dense_0/bias": P(),
    "task/y/Dense_0/kernel": P("data"),  # (32, 1)
  }
  moments = {f"opt_state/0/{name}/{path}": spec for name in ("mu", "nu") for path, spec in params.items()}
  placed = {f"params/{path}": spec for path, spec in params.items()} | moments
  assert {path: spec for path, spec in every.items() if spec != P()} == {p: s for p, s in placed.items() if s != P()}
  assert every.keys() > placed.keys()


def test_zero_divides_the_optimizer_state_alone():
  every, params = _place(mtl.shard.zero(min_size=32))
  assert set(params.values()) == {P()}
  divided = {path for path, spec in every.items() if spec != P()}
  assert divided == {
    f"opt_state/0/{name}/{path}"
    for name in ("mu", "nu")
    for path in ("shared/Dense_0/kernel", "shared/Dense_1/bias", "shared/Dense_1/kernel", "task/y/Dense_0/kernel")
  }


def test_tensor_parallel_mlp_takes_columns_and_rows_in_turn():
  _, params = _place("tensor-parallel")
  assert {path: spec for path, spec in params.items() if spec != P()} == {
    "shared/Dense_0/bias": P("model"),
    "shared/Dense_0/kernel": P(None, "model"),
    "shared/Dense_1/kernel": P("model"),
  }


def test_tensor_parallel_convolutions_take_output_channels_where_the_axis_divides_them():
  _, params = _place("tensor_parallel", mtl.nn.CNN((4, 5), features=6), x=(8, 6, 6, 1))
  assert {path: spec for path, spec in params.items() if spec != P()} == {
    "shared/Conv_0/bias": P("model"),
    "shared/Conv_0/kernel": P(None, None, None, "model"),
    "shared/Dense_0/bias": P("model"),
    "shared/Dense_0/kernel": P(None, "model"),
  }
  _, params = _place("tensor_parallel", mtl.nn.ResNet((1,), width=4), x=(8, 8, 8, 1))
  assert params["shared/stage_0_block_0/Conv_1/kernel"] == P(None, None, None, "model")


@pytest.mark.parametrize(
  ("mesh", "axis", "spec"),
  [
    (MESH, None, P(("data", "model"))),
    (MESH, "model", P("model")),
    (AbstractMesh((2, 4), ("data", "table")), None, P("table")),
  ],
)
def test_row_wise_divides_tables_alone(mesh, axis, spec):
  shapes = {"table": jnp.zeros((16, 6)), "kernel": jnp.zeros((16, 6)), "experts": {"table": jnp.zeros((3, 16, 6))}}
  found = specs_of({"shared": shapes, "table_of_none": jnp.zeros(16)}, mesh, mtl.shard.row_wise(axis).params)
  wanted = {"shared/table": spec, "shared/experts/table": P(None, *spec)}
  assert {path: where for path, where in found.items() if any(where)} == wanted
  with pytest.raises(mtl.UserError, match="dimension 0 of 'table', shape .*, is 15, which .* does not divide"):
    specs_of({"table": jnp.zeros((15, 6))}, mesh, mtl.shard.row_wise(axis).params)


def test_first_match_wins():
  every, params = _place([("task/", P()), ("kernel$", P("model")), (".*", P(("model", "data")))])
  assert params["task/y/Dense_0/kernel"] == P()
  assert params["shared/Dense_0/kernel"] == P("model")
  assert params["shared/Dense_0/bias"] == P(("model", "data"))


def _by_kernel(params):
  return jax.tree.map(lambda leaf: "kernel" if leaf.ndim > 1 else "rest", params)


@pytest.mark.parametrize(
  ("tx", "prefix"),
  [
    (optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(0.1, 9))), "opt_state/1/0/mu"),
    (optax.inject_hyperparams(optax.adam)(0.1), "opt_state/inner_state/0/mu"),
    (optax.masked(optax.adam(0.1), lambda p: jax.tree.map(lambda a: a.ndim > 1, p)), "opt_state/inner_state/0/mu"),
    (
      optax.multi_transform({"kernel": optax.adam(0.1), "rest": optax.sgd(0.1)}, _by_kernel),
      "opt_state/inner_states/kernel/inner_state/0/mu",
    ),
    (optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation(), "opt_state/acc_grads"),
  ],
)
def test_optimizer_state_follows_its_parameter(tx, prefix):
  every, _ = _place([("shared/Dense_1/kernel", P("data", "model"))], tx=tx)
  assert every[f"{prefix}/shared/Dense_1/kernel"] == P("data", "model")
  assert every[f"{prefix}/shared/Dense_0/kernel"] == P()


def test_optimizer_arrays_of_another_shape_are_replicated():
  tx = optax.adafactor(0.1, min_dim_size_to_factor=8)
  every, _ = _place([("shared/Dense_1/kernel", P("data", "model"))], tx=tx)
  assert every["opt_state/0/v_row/shared/Dense_1/kernel"] == P()  # (16,)


@pytest.mark.parametrize(
  ("rules", "message"),
  [
    (
      [("shared/Dense_7/kernel", P("data"))],
      r"rule 'shared/Dense_7/kernel' matches no parameter: there are shared/Dense_[01]/kernel, ",
    ),
    ([("[", P("data"))], r"rule '\[' is no regular expression: unterminated"),
    (
      [("shared/Dense_0/kernel", P("data"))],
      r"dimension 0 of 'shared/Dense_0/kernel', shape \(6, 16\), is 6, which data 4 does not divide",
    ),
    ([("shared/Dense_0/kernel", P(None, ("data", "model", "data")))], r"16, which data 4 x model 2 x data 4 does not"),
    ([("Dense_1", P("modl"))], r"the mesh data=4,model=2 has no axis 'modl' \(did you mean 'model'\?\) for 'shared/"),
    ([("shared/Dense_0/bias", P(None, "data"))], r"has 2 entries, but 'shared/Dense_0/bias' has the shape \(16,\)"),
    (mtl.shard.tensor_parallel("tensor"), r"the mesh data=4,model=2 has no axis 'tensor' for 'shared/Dense_0/bias"),
    (mtl.shard.fsdp(10**9), r"these rules divide no parameter on the mesh data=4,model=2: .*shared/Dense_0/bias, "),
    (mtl.shard.zero(10**9), r"these rules divide no parameter"),
    ("fdsp", r"unknown rules 'fdsp' \(did you mean 'fsdp'\?\): choose from replicated, fsdp, zero, tensor_parallel"),
    ([("Dense_1",)], "expected a name, mtl.shard.Rules or pairs"),
  ],
)
def test_mistakes(rules, message):
  with pytest.raises(mtl.UserError, match=message) as caught:
    _place(rules)
  assert "\n" not in str(caught.value)
