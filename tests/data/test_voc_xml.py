"""One VOC file: its encoding, its faults, its boxes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from nasdet.data.masks import Polygons
from nasdet.data.voc_xml import BadXml, is_voc, parse_voc, read_box

XML = "<annotation><filename>a.jpg</filename><object><name>红细胞 é</name></object></annotation>"
LATIN = XML.replace("红细胞 ", "")


def written(folder: Path, content: bytes) -> Path:
    (folder / "a.xml").write_bytes(content)
    return folder / "a.xml"


ENCODINGS = [
    ("utf-8", XML, ""),
    ("utf-8-sig", XML, ""),
    ("utf-16", XML, ""),
    ("gb18030", XML, "GB18030"),
    ("gbk", XML.replace(" é", ""), "GBK"),
    ("latin-1", LATIN, "ISO-8859-1"),
    ("cp1252", LATIN, "windows-1252"),
    ("shift_jis", XML.replace("红细胞 é", "赤血球"), "Shift_JIS"),
    ("utf-16", XML, "UTF-16"),
    ("utf-16-le", XML, "utf-16"),
    ("utf-8", XML, "utf-16"),  # as tools write it that only think so
]


@pytest.mark.parametrize(("encoding", "text", "declared"), ENCODINGS)
def test_encodings(tmp_path: Path, encoding: str, text: str, declared: str) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    path = written(tmp_path, (head + text).encode(encoding))
    assert is_voc(path)
    root = parse_voc(path).root
    assert root.findtext("object/name") == ElementTree.fromstring(text).findtext("object/name")


BAD = [
    (b"", "the file is empty"),
    (b" \n", "the file is empty"),
    (XML.encode("gbk", "replace"), r"is not text in UTF-8, as XML without a declaration is \(byte \d+\)"),
    (b'<?xml version="1.0" encoding="ascii"?>' + XML.encode(), r"is not text in ASCII, as it declares \(byte"),
    (
        b'<?xml version="1.0" encoding="klingon"?>' + LATIN.encode(),
        "declares the encoding 'klingon', which is not known",
    ),
    (b"<annotation><object></annotation>", "is not valid XML \\(mismatched tag"),
    (b"<annotation>&<object></annotation>", "is not valid XML"),
    (b'<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "declares entities"),
    (b"\0\5\x16\7\xb0", "is not text in UTF-8|is not valid XML"),
]


@pytest.mark.parametrize(("content", "cause"), BAD)
def test_the_cause_is_named(tmp_path: Path, content: bytes, cause: str) -> None:
    with pytest.raises(BadXml, match=cause):
        parse_voc(written(tmp_path, content))


def test_a_bare_ampersand_is_mended(tmp_path: Path) -> None:
    text = "<annotation><object><name>R & B &amp; &#67;</name></object></annotation>"
    file = parse_voc(written(tmp_path, text.encode()))
    assert file.root.findtext("object/name") == "R & B & C"
    assert file.repairs == ("'&' not written as '&amp;'",)


@pytest.mark.parametrize(
    ("size", "read"),
    [
        ("<width>60</width><height>40</height>", (60, 40)),
        ("<width>60.0</width><height>40,0</height>", (60, 40)),
        ("<width>0</width><height>40</height>", None),
        ("<width/><height>40</height>", None),
        ("<width>nan</width><height>inf</height>", None),
        ("", None),
    ],
)
def test_sizes(tmp_path: Path, size: str, read: tuple[int, int] | None) -> None:
    assert parse_voc(written(tmp_path, f"<annotation><size>{size}</size></annotation>".encode())).size == read


def corners(*values: str) -> str:
    return "<bndbox>" + "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), values, strict=True)
    ) + "</bndbox>"  # fmt: skip


POINTS = "<polygon><x1>3</x1><y1>4</y1><x2>9</x2><y2>5,5</y2><x3>5</x3><y3>8</y3></polygon>"
LABELME = "<polygon><pt><x>3</x><y>4</y></pt><pt><x>9</x><y>5</y></pt><pt><x>5</x><y>8</y></pt></polygon>"
PART = f"<part><name>head</name>{corners('0', '0', '1', '1')}</part>"
TURNED = "<robndbox><cx>10</cx><cy>20</cy><w>8</w><h>4</h><angle>1.5707963</angle></robndbox>"


@pytest.mark.parametrize(
    ("inner", "box", "fault", "polygon"),
    [
        (corners("1", "2.5", "3", "4"), (1, 2.5, 3, 4), "", False),
        (PART + corners("1", "2", " 3 ", "4"), (1, 2, 3, 4), "", False),
        (corners("1,5", "2", "3,25", "4"), (1.5, 2, 3.25, 4), "decimal comma", False),
        (corners("1", "2", "3", "4") + POINTS, (1, 2, 3, 4), "", True),
        (POINTS, (3, 4, 9, 8), "polygon without a box", True),
        (LABELME, (3, 4, 9, 8), "polygon without a box", True),
        (TURNED, (8, 16, 12, 24), "turned box, read as the box around it", False),
    ],
)
def test_boxes(inner: str, box: tuple[float, ...], fault: str, polygon: bool) -> None:
    found = read_box(ElementTree.fromstring(f"<object>{inner}</object>"))
    assert found.box is not None
    np.testing.assert_allclose(found.box, box, atol=1e-5)
    assert found.fault == fault and isinstance(found.mask, Polygons) == polygon


@pytest.mark.parametrize(
    ("inner", "cause"),
    [
        (corners("1", "x", "3", "4"), "bndbox ['1', 'x', '3', '4']"),
        (corners("1,2,3", "2", "3", "4"), "bndbox ['1,2,3', '2', '3', '4']"),
        ("<bndbox><xmin>1</xmin></bndbox>", "bndbox ['1', None, None, None]"),
        ("<name>a</name><pose/>", "no bndbox, but name, pose"),
        ("<polygon><x1>3</x1><y1>4</y1></polygon>", "no bndbox, but polygon"),
        (PART, "no bndbox, but part"),
        ("", "no bndbox, but nothing"),
    ],
)
def test_no_box(inner: str, cause: str) -> None:
    found = read_box(ElementTree.fromstring(f"<object>{inner}</object>"))
    assert found.box is None and found.fault == cause


def test_what_is_no_voc_file(tmp_path: Path) -> None:
    assert not is_voc(written(tmp_path, b"<?xml version='1.0'?><annotations><image/></annotations>"))
    assert not is_voc(written(tmp_path, b""))
