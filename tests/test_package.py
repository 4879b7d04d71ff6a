"""What importing the package costs, and the small public functions."""

import importlib.resources
import subprocess
import sys

import mtl_jax as mtl


def test_import_is_light():
  heavy = [
    "tensorflow",
    "matplotlib",
    "sklearn",
    "tensorflow_datasets",
    "equinox",
    "orbax",
    "grain",
    "tyro",
    "tensorboardX",
    "pyarrow",
    "array_record",
    "starlette",
    "uvicorn",
  ]
  code = f"import mtl_jax, sys; print([m for m in {heavy} if m in sys.modules])"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[]"


def test_names_lead_to_functions():
  for module in (mtl.balance, mtl.engine):
    assert list(module.names()) == sorted(module.names())
    assert all(callable(getattr(module, name)) for name in module.names())


def test_annotations_are_published():
  assert importlib.resources.files("mtl_jax").joinpath("py.typed").is_file()
