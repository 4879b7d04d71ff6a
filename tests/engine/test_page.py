"""`docs/engines.md` runs as it stands."""

import doctest
import re
from pathlib import Path

import jax
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()


@pytest.mark.slow
def test_the_page_is_true():
  blocks = "\n".join(re.findall(r"^```pycon\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
  page = doctest.DocTestParser().get_doctest(blocks, {}, "engines.md", "docs/engines.md", 0)
  assert len(page.examples) > 60
  with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
    assert doctest.DocTestRunner().run(page).failed == 0


@pytest.mark.parametrize("name", ["program", "layers", "ways", "products", "schedule", "running", "backward", "order"])
def test_every_file_of_the_machinery_is_told_of(name):
  assert f"_backward/{name}.py" in PAGE
