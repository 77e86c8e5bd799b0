"""Figures as PNGs with a palette: a fifth to a third as large as others, and no eye sees the difference."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = 160
"""Enough for the edges of eight lines that cross each other."""


def png(figure: Figure, colours: int = _COLOURS) -> bytes:
    """Return the figure as a PNG. The same figure gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba()))
    white = Image.new("RGBA", drawn.size, "white")
    buffer = io.BytesIO()
    Image.alpha_composite(white, drawn).convert("RGB").quantize(colours).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
