"""The HTML and SVG of the study report and of the interactive front, as Jinja2 templates.

Every value that enters a template is escaped, because names, reasons and classes come from users and their data. Only
what nasdet itself made as markup (plotly's script and figures, the SVG drawings) is passed as `Markup`.
"""

from __future__ import annotations

import base64
import functools
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, **values: Any) -> Markup:
    """Fill in a template of this folder; the result is markup and can be a value of another template."""
    return Markup(_environment().get_template(template).render(values))


@functools.cache
def _environment() -> Environment:
    # A name that a template misspells is an error, not an empty text.
    environment = Environment(
        loader=PackageLoader("nasdet.analysis.templates", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"duration": duration, "jpeg_url": _jpeg_url}
    return environment


def duration(seconds: float) -> str:
    """As 1 h 05 min, 9 min 24 s or 12 s."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def _jpeg_url(picture: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
