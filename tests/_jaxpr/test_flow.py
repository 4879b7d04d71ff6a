"""What the results of a traced program depend on, where it loops."""

import jax
import jax.numpy as jnp

from mtl_jax._jaxpr.equations import function_of
from mtl_jax._jaxpr.flow import Kind, flow


def test_a_scan_is_followed_from_constants_carry_and_slices_to_carry_and_stack():
  def function(start, factor, slices):
    def turn(carry, x):
      kept, power = carry
      return (2.0 * kept + x.sum(), power * factor), (x, factor, kept * power, kept * kept)

    return jax.lax.scan(turn, (start, 1.0), slices)

  program = jax.make_jaxpr(function)(1.0, 2.0, jnp.ones((3, 1))).jaxpr
  linear, constant = Kind.LINEAR, Kind.CONSTANT
  # The first result of the stack is a copy of the slices, the second of a constant, once for each turn.
  assert flow(program, [linear, constant, constant]) == [
    Kind.OTHER,
    constant,
    constant,
    constant,
    Kind.OTHER,
    Kind.OTHER,
  ]
  assert flow(program, [linear, constant, linear]) == [linear, constant, linear, constant, linear, Kind.OTHER]
  assert flow(program, [constant, constant, constant]) == [constant] * 6
  assert flow(program, [constant, linear, constant])[1] == Kind.OTHER


def test_a_traced_nan_is_no_mistake_of_the_equation():
  jaxpr = jax.make_jaxpr(jnp.log)(1.0).jaxpr
  with jax.debug_nans(True):
    (result,) = function_of(jaxpr, jaxpr.eqns[-1])(jnp.float32(-1.0))
  assert jnp.isnan(result)
