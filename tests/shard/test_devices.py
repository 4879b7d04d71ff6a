"""Eight virtual devices in a process of their own: every placement trains like one device."""

import pytest

from tests._launch import found_by

pytestmark = pytest.mark.slow  # processes of its own

ROUNDING = 1e-5  # eight steps of Adam at rate 0.01: sums of 32 examples in another order


@pytest.fixture(scope="module")
def found():
  return found_by("tests.shard._eight")


def test_every_placement_has_the_losses_of_one_device(found):
  assert len(found["runs"]) == 5
  assert max(run["distance"] for run in found["runs"].values()) < ROUNDING, found["runs"]


def test_the_state_stays_where_the_rules_put_it_and_the_step_compiles_once(found):
  kernels = {"shared/Dense_0/kernel", "shared/Dense_1/kernel"}
  heads = {"task/kind/Dense_0/kernel", "task/size/Dense_0/kernel"}
  by_fsdp = kernels | heads | {"shared/Dense_1/bias"}
  by_tensor = kernels | {"shared/Dense_0/bias"}
  wanted = {
    "replicated 8": (set(), set()),
    "fsdp 4": (by_fsdp, by_fsdp),
    "zero 8": (set(), by_fsdp),
    "tensor parallel 4 x 2": (by_tensor, by_tensor),
    "own 4 x 2": (kernels, kernels),
  }
  for name, (params, moments) in wanted.items():
    divided = {f"params/{path}" for path in params}
    divided |= {f"opt_state/0/{moment}/{path}" for path in moments for moment in ("mu", "nu")}
    assert set(found["runs"][name]["divided"]) == divided, name
    assert found["runs"][name]["compiled"] == 1, name


def test_gram_methods_over_sharded_parameters(found):
  assert len(found["engines"]) == 3
  assert max(found["engines"].values()) < ROUNDING, found["engines"]


def test_activations_are_kept_divided_by_examples(found):
  kept = found["constrain"]
  for name in ("jit", "grad", "vmap"):
    assert kept[name] == ["P('data',)", [2, 3]], name
  assert kept["grad value"] == 0


def test_constrain_does_nothing_where_there_is_nothing_to_divide(found):
  kept = found["constrain"]
  assert kept["no mesh"] == kept["indivisible"] == kept["explicit"] == "[]"
  assert kept["shard_map"] == kept["pmap"] == 0


def test_batch_statistics_of_a_device_are_those_of_the_whole_batch(found):
  # Means over 256 values around 8 in another order; those of two images of sixteen are off by several units.
  assert max(found["statistics"].values()) < 1e-4, found["statistics"]


def test_inputs_of_several_parts_train_like_on_one_device(found):
  assert found["parts"] < ROUNDING


@pytest.mark.parametrize(("mesh", "parts"), [("data=8", 8), ("data=2,table=4", 4)])
def test_devices_send_the_rows_of_a_batch_and_no_table(found, mesh, parts):
  tables = found["tables"][mesh]
  assert tables["distance"] < ROUNDING
  assert tables["part"] == [50_104 // parts, 8]
  # 128 rows at most, of the table, its gradient for two tasks, and two moments, sent twice at most; a table has 1.6 MB.
  assert tables["sent"] < 2 * 5 * 128 * 8 * 4 + 20_000


def test_a_run_goes_on_over_another_mesh_by_other_rules(found):
  assert found["fits"]["parameters"] < ROUNDING and found["fits"]["validation"] < ROUNDING, found["fits"]


def test_gradients_lie_where_the_state_that_they_update_does(found):
  whole = {"kernel": [16, 8], "bias": [3], "table": [5, 8]}
  assert found["gradients"] == {"zero": {**whole, "kernel": [2, 8]}, "replicated": whole}
