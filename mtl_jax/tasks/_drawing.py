"""Maps drawn over the image that they are of."""

from __future__ import annotations

from typing import Any


def over(axes: Any, picture: Any, **options: Any) -> None:
  """Draws a map on axes of matplotlib that show its image, over all of it, whatever the map's size."""
  axes.imshow(picture, extent=axes.get_images()[0].get_extent(), interpolation="nearest", **options)
