"""Every balancer and engine can be made from words, as on the command line."""

import jax.numpy as jnp
import pytest

import mtl_jax as mtl
from mtl_jax.experiment.options import build_arch, build_balancer, build_engine, without_options


@pytest.mark.parametrize("name", without_options(mtl.balance))
def test_balancers_without_words(name):
  balancer = build_balancer(name)
  assert isinstance(balancer, mtl.balance.Balancer)


@pytest.mark.parametrize("name", mtl.engine.names())
def test_engines_without_words(name):
  assert build_engine(name).name.startswith(name)


@pytest.mark.parametrize("name", mtl.arch.names())
def test_architectures_without_words(name):
  assert build_arch(name).func is getattr(mtl.arch, name)


def test_architectures_by_name():
  assert mtl.arch.as_arch("mmoe") is mtl.arch.mmoe and mtl.arch.as_arch(build_arch("mmoe")).func is mtl.arch.mmoe
  with pytest.raises(mtl.UserError, match=r"unknown arch 'mmo' \(did you mean 'mmoe'\?\)"):
    mtl.arch.as_arch("mmo")
  with pytest.raises(
    mtl.UserError, match="arch is 3, expected a name, such as 'mmoe', or a function of trunk and heads"
  ):
    mtl.arch.as_arch(3)
  with pytest.raises(mtl.UserError, match="--arch mmoe has no option 'expert' \\(did you mean 'experts'"):
    build_arch("mmoe", ["--expert", "3"])


def test_words_become_arguments():
  balancer = build_balancer("dualproj", ["--preference", "1", "2", "1", "--reg-eps", "0"])
  weights, _ = balancer.weigh(mtl.balance.Stats(jnp.ones(3), jnp.eye(3)), balancer.init(3))
  assert weights.tolist() == [1.0, 2.0, 1.0]
  balancer = build_balancer("constant", ["--weights", "1", "0.5"])
  assert balancer.weigh(mtl.balance.Stats(jnp.ones(2)), balancer.init(2))[0].tolist() == [1.0, 0.5]
  balancer = build_balancer("uncertainty", ["--classification", "True", "False", "--learning-rate", "0.1"])
  assert balancer.weigh(mtl.balance.Stats(jnp.ones(2)), balancer.init(2))[0].tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
  ("name", "words", "message"),
  [
    ("constant", [], "--weights"),
    ("dwa", ["--window", "0"], "window 0, expected"),
    ("dwa", ["--temperature", "nan"], "temperature is nan, expected numbers"),
    ("constant", ["--weights", "1", "nan"], "weights is [1.0, nan], expected numbers"),
    ("mgda", ["--normalize", "l3"], "l3"),
    ("equal", ["--seed", "1"], "has no option 'seed': it has none"),
    ("uncertainty", ["--optimizer", "sgd"], "optimizer"),
  ],
)
def test_wrong_words_are_one_line(name, words, message):
  with pytest.raises(mtl.UserError) as caught:
    build_balancer(name, words)
  assert message in str(caught.value) and "\n" not in str(caught.value)
