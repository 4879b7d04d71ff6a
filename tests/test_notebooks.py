"""Every notebook runs from top to bottom, ends with its own check of quality, and is stored without outputs."""

import ast
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.slow  # processes of its own

NOTEBOOKS = sorted((Path(__file__).parents[1] / "colabs").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(path):
  return [cell for cell in nbformat.read(path, as_version=nbformat.NO_CONVERT).cells if cell.cell_type == "code"]


def test_there_are_notebooks():
  assert NOTEBOOKS


@every_notebook
def test_stored_without_outputs(path):
  notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
  nbformat.validate(notebook)
  assert all(cell.id for cell in notebook.cells)
  assert all(cell.outputs == [] and cell.execution_count is None for cell in code(path))


@every_notebook
def test_last_cell_asserts_quality(path):
  statements = ast.parse(code(path)[-1].source).body
  assert any(isinstance(statement, ast.Assert) for statement in statements)


@every_notebook
def test_runs(path, tmp_path):
  from nbclient import NotebookClient

  notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
  client = NotebookClient(notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
  client.execute()  # raises at the first cell that does
  done = [cell for cell in notebook.cells if cell.cell_type == "code"]
  assert all(cell.execution_count for cell in done)
  assert any("image/png" in output.get("data", {}) for cell in done for output in cell.outputs)
