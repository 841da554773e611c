"""Reading one XML file of the Pascal VOC layout: its encoding, its size, its objects with their boxes.

One decision: what a tool can only have meant in one way is read (decimal commas, a bare `&`, polygons without a box)
and counted as repaired; everything else is refused with its cause.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from nasdet.data.files import read_bytes
from nasdet.data.masks import BadMask, Mask, parse_polygons

CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})["']""")
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_BARE = re.compile(r"&(?!(?:#\d+|#x[0-9a-fA-F]+|amp|lt|gt|quot|apos);)")
_COMMA = re.compile(r"[+-]?\d+,\d+")

Box = tuple[float, float, float, float]


class BadXml(ValueError):
    """A file that cannot be read; the text names the cause."""


class VocFile(NamedTuple):
    """One file, parsed."""

    root: ElementTree.Element
    repairs: tuple[str, ...]
    """Kinds of faults that were repaired to parse it."""

    @property
    def file_name(self) -> str:
        """The image that it names, or an empty string."""
        return (self.root.findtext("filename") or "").strip()

    @property
    def size(self) -> tuple[int, int] | None:
        """Stated width and height; None where the file states none, or zeros as some tools do."""
        width, height = (_number(self.root.findtext(f"size/{key}"))[0] for key in ("width", "height"))
        return (int(width), int(height)) if 1 <= width < math.inf and 1 <= height < math.inf else None

    def objects(self) -> Iterator[ElementTree.Element]:
        """The objects, in order."""
        return self.root.iter("object")


class VocBox(NamedTuple):
    """The box of one object."""

    box: Box | None
    """xyxy, or None if it cannot be read."""
    mask: Mask | None = None
    """The object's polygon, if it has one."""
    fault: str = ""
    """Kind of fault that was repaired, or why there is no box."""


def is_voc(path: Path) -> bool:
    """Whether a file begins as VOC's do."""
    return re.search(rb"<annotation[\s>/]", _head(path)) is not None


def is_cvat(path: Path) -> bool:
    """Whether a file begins as CVAT's own XML does, which holds all images."""
    return b"<annotations>" in _head(path)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096).replace(b"\0", b"")


def parse_voc(path: Path) -> VocFile:
    """The content of a file, in the encoding that it declares.

    Raises:
        BadXml: it is empty, in another encoding, or not XML.
    """
    text = _text(read_bytes(path))
    if not text.strip():
        raise BadXml("the file is empty")
    if "<!ENTITY" in text:
        raise BadXml("it declares entities, which are not read")
    try:
        return VocFile(ElementTree.fromstring(text), ())
    except ElementTree.ParseError as error:
        mended = _BARE.sub("&amp;", text)
        if mended == text:
            raise BadXml(f"is not valid XML ({error})") from None
    try:
        return VocFile(ElementTree.fromstring(mended), ("'&' not written as '&amp;'",))
    except ElementTree.ParseError as error:
        raise BadXml(f"is not valid XML ({error})") from None


def read_box(element: ElementTree.Element) -> VocBox:
    """The box of an object: its `bndbox`, else the extent of its polygon or of its turned box."""
    mask = _polygon(element)
    if element.find("bndbox") is None:
        if mask is not None:
            return VocBox(mask.box(None), mask, "polygon without a box")
        turned = _turned(element)
        if turned:
            return VocBox(turned, None, "turned box, read as the box around it")
        tags = ", ".join(child.tag for child in element) or "nothing"
        return VocBox(None, None, f"no bndbox, but {tags}")
    texts = [element.findtext(f"bndbox/{corner}") for corner in CORNERS]
    read = [_number(text) for text in texts]
    if any(
        value != value and (text or "").strip().lower() != "nan" for (value, _), text in zip(read, texts, strict=True)
    ):
        return VocBox(None, None, f"bndbox {texts}")
    x1, y1, x2, y2 = (value for value, _ in read)
    return VocBox((x1, y1, x2, y2), mask, "decimal comma" if any(comma for _, comma in read) else "")


def _text(content: bytes) -> str:
    """The file's text: by its byte order mark, else by its declaration, else UTF-8."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return _decode(content, encoding, "its byte order mark says")
    if content[:4] in (b"<\0?\0", b"\0<\0?"):
        return _decode(content, "utf-16-le" if content[0] else "utf-16-be", "its first bytes say")
    declared = _ENCODING.match(content)
    if declared is None:
        return _decode(content, "utf-8", "XML without a declaration is")
    name = declared[1].decode()
    if name.lower().replace("_", "-") in ("utf-16", "utf16"):  # written by a tool as UTF-8 in fact
        name = "utf-8"
    return _decode(content, name, "it declares")


def _decode(content: bytes, encoding: str, said: str) -> str:
    try:
        return content.decode(encoding).lstrip("\ufeff")
    except UnicodeError as error:
        place = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        raise BadXml(f"is not text in {encoding.upper()}, as {said}{place}") from None
    except LookupError:
        raise BadXml(f"declares the encoding {encoding!r}, which is not known") from None


def _number(text: str | None) -> tuple[float, bool]:
    """The number that a text spells, NaN if none, and whether it has a decimal comma."""
    text = (text or "").strip()
    comma = _COMMA.fullmatch(text) is not None
    try:
        return float(text.replace(",", ".") if comma else text), comma
    except ValueError:
        return math.nan, False


def _polygon(element: ElementTree.Element) -> Mask | None:
    """The object's polygon: `x1, y1, x2, ...` as Roboflow writes it, or points `pt` of x and y as LabelMe does."""
    polygon = element.find("polygon")
    if polygon is None:
        return None
    points = [(point.findtext("x"), point.findtext("y")) for point in polygon.iter("pt")]
    if not points:
        values = {child.tag: child.text for child in polygon}
        points = [(values.get(f"x{i}"), values.get(f"y{i}")) for i in range(1, len(values) // 2 + 1)]
    try:
        return parse_polygons([[_number(text)[0] for point in points for text in point]])
    except BadMask:
        return None


def _turned(element: ElementTree.Element) -> Box | None:
    """The box around roLabelImg's `robndbox`: centre, width, height, angle in radians."""
    x, y, w, h, angle = (_number(element.findtext(f"robndbox/{key}"))[0] for key in ("cx", "cy", "w", "h", "angle"))
    if not all(map(math.isfinite, (x, y, w, h, angle))):
        return None
    wide = (abs(w * math.cos(angle)) + abs(h * math.sin(angle))) / 2
    tall = (abs(w * math.sin(angle)) + abs(h * math.cos(angle))) / 2
    return x - wide, y - tall, x + wide, y + tall
