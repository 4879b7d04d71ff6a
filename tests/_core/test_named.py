"""Balancers and engines by name."""

import jax.numpy as jnp
import pytest

import mtl_jax as mtl
from mtl_jax.balance import Stats


@pytest.mark.parametrize(
  "given, line",
  [
    ("pcgard", r"unknown balancer 'pcgard' \(did you mean 'pcgrad'\?\): choose from aligned, cagrad"),
    ("constant", r"balancer 'constant' needs weights: pass mtl.balance.constant\(weights=...\)"),
    (mtl.balance.pcgrad, r"balancer is the function pcgrad, .*: call it, mtl.balance.pcgrad\(...\)"),
    (mtl.balance, "balancer is the module mtl_jax.balance, expected one of its methods"),
    (mtl.bilevel.auto_lambda(), r"balancer is a Bilevel, expected a name, .* or a Balancer, such as mtl.balance"),
    (3, "balancer is 3, expected a name"),
  ],
)
def test_what_is_no_balancer(given, line):
  with pytest.raises(mtl.UserError, match=line):
    mtl.balance.as_balancer(given)


def test_what_is_no_engine():
  with pytest.raises(mtl.UserError, match=r"engine is the function gram, .*: call it, mtl.engine.gram\(...\)"):
    mtl.engine.as_engine(mtl.engine.gram)
  with pytest.raises(mtl.UserError, match="every: engine is a Balancer, expected a name, .* or an Engine"):
    mtl.engine.as_engine(mtl.balance.equal(), "every: engine")


def test_names_stand_for_the_functions_with_their_defaults():
  assert [mtl.engine.as_engine(name).name for name in ("gram", "every")] == ["gram", "every(10, stacked)"]
  assert mtl.engine.every(2, "gram").name == "every(2, gram)"
  engine = mtl.engine.gram()
  assert mtl.engine.as_engine(engine) is engine
  matrix = jnp.array([[1.0, -0.5], [-0.5, 2.0]])
  stats = Stats(jnp.ones(2), matrix)
  for made, named in [
    (mtl.balance.imtl_g(), mtl.balance.as_balancer("imtl_g")),
    (mtl.balance.smooth(mtl.balance.imtl_g()), mtl.balance.smooth("imtl_g")),
    (mtl.balance.log_losses(mtl.balance.imtl_g()), mtl.balance.log_losses("imtl_g")),
    (mtl.balance.rescale(mtl.balance.imtl_g(), "sum"), mtl.balance.rescale("imtl_g", "sum")),
    (mtl.balance.chain(mtl.balance.dwa(), mtl.balance.imtl_g()), mtl.balance.chain("dwa", "imtl_g")),
  ]:
    weights = [balancer.weigh(stats, balancer.init(2))[0].tolist() for balancer in (made, named)]
    assert weights[0] == weights[1]
  assert mtl.balance.per_group("imtl_g", ["kernel"]).needs == {"rows"}
  assert mtl.aggregate("imtl_g", 2).init(jnp.ones(3)).weights.tolist() == [1.0, 1.0]
