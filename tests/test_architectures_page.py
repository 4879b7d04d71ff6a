"""The page of architectures is that of the code."""

import re

import pytest

import mtl_jax as mtl
from docs import architectures


@pytest.mark.slow
def test_the_page_is_that_of_the_code():
  """But for the operations, which compilers count in their own ways."""
  written = (architectures.DOCS / "architectures.md").read_text()
  made = architectures.page(architectures.found())
  alike = [re.sub(r"^(\| \[.*\|) [\d.]+ \|$", r"\1", text, flags=re.MULTILINE) for text in (written, made)]
  assert alike[0] == alike[1], "run make reference"


def test_pictures_are_those_of_architectures():
  assert {path.stem for path in architectures.PICTURES.glob("*.png")} <= set(mtl.arch.names())
