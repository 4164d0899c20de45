"""Add keywords to an XMP sidecar, and keep every other byte of it.

New items are inserted as text at the places that the parser reports, so comments, prefixes, the
order and the packet wrapper of other programs survive. Sources: XMP specification part 1 (ISO
16684-1), section 7; the namespaces are those that exiftool writes for digiKam and Lightroom.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

LARGEST = 16 << 20  # bytes of a sidecar
DEEPEST = 200  # nested elements
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


class Property(NamedTuple):
    """A list of keywords in XMP."""

    namespace: str
    prefix: str  # the usual one
    name: str
    container: str  # of its items, in namespace RDF


SUBJECT = Property("http://purl.org/dc/elements/1.1/", "dc", "subject", "Bag")
TAGS_LIST = Property("http://www.digikam.org/ns/1.0/", "digiKam", "TagsList", "Seq")
HIERARCHY = Property("http://ns.adobe.com/lightroom/1.0/", "lr", "hierarchicalSubject", "Bag")

Keywords = Mapping[Property, tuple[str, ...]]

_KNOWN = {(prop.namespace, prop.name): prop for prop in (SUBJECT, TAGS_LIST, HIERARCHY)}
_EMPTY = f"""\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about="">
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()
_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
_TAG_NAME = re.compile(rb"<(?:([^\s:/>]+):)?[^\s/>]+")
_BREAK = re.compile(rb"(\r?\n[ \t]*)\Z")
_ENCODING = re.compile(rb"""\A(?:\xef\xbb\xbf)?<\?xml[^>]*encoding\s*=\s*["']([^"']*)["']""")
_NOT_XML = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SidecarError(ValueError):
    """A sidecar is invalid, or keywords cannot be added to its structure."""


def keywords_of(labels: Iterable[str], prefix: str | None = None) -> Keywords:
    """Return the keywords of labels; `prefix` is their parent in hierarchies: "AI" or "AI/2026".

    A label never adds a level itself: "/" and "|" in it become "-".

    Example:
        >>> list(keywords_of(["and/or"], "AI").values())
        [('and/or',), ('AI/and-or',), ('AI|and-or',)]
    """
    flat = list(dict.fromkeys(filter(None, map(clean, labels))))
    parents = list(filter(None, map(clean, re.split(r"[/|]", prefix or ""))))
    paths = [[*parents, re.sub(r"[/|]", "-", label)] for label in flat]
    return {
        SUBJECT: tuple(flat),
        TAGS_LIST: tuple(dict.fromkeys("/".join(path) for path in paths)),
        HIERARCHY: tuple(dict.fromkeys("|".join(path) for path in paths)),
    }


def clean(text: str) -> str:
    """Return a text in NFC with single spaces, without control characters."""
    return " ".join(_NOT_XML.sub(" ", unicodedata.normalize("NFC", text)).split())


def add_keywords(data: bytes | None, keywords: Keywords) -> bytes:
    """Return a sidecar with keywords; the same bytes if it has all of them.

    `data` is an existing sidecar in UTF-8, or None for a new one. Raises SidecarError.
    """
    data = _EMPTY if data is None else data
    for prop, values in keywords.items():
        data = _add(data, prop, values)
    found = read_keywords(data)
    if any(not set(values) <= set(found[prop]) for prop, values in keywords.items()):
        raise SidecarError("its namespaces are ambiguous")
    return data


def read_keywords(data: bytes) -> dict[Property, list[str]]:
    """Return the values of the three properties. Raises SidecarError."""
    lists = _parse(data).lists
    return {prop: lists[prop].items if prop in lists else [] for prop in _KNOWN.values()}


@dataclass
class _Element:
    """An element: where its tags are, and what is in it."""

    start: int  # of its start tag, in bytes
    prefixes: Mapping[str, str]  # namespace -> prefix
    end: int = -1  # of its content; the start of its end tag
    items: list[str] = field(default_factory=list)  # texts of rdf:li


@dataclass
class _Document:
    rdf: _Element | None = None
    description: _Element | None = None  # the first one
    lists: dict[Property, _Element] = field(default_factory=dict)


class _Reader:
    """Finds rdf:RDF / rdf:Description / property / rdf:Bag / rdf:li while expat parses."""

    def __init__(self) -> None:
        self.document = _Document()
        self.parser = expat.ParserCreate("utf-8", " ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartNamespaceDeclHandler = self._bind
        self.parser.EndNamespaceDeclHandler = self._unbind
        self.parser.StartDoctypeDeclHandler = _refuse_doctype
        self.parser.EntityDeclHandler = _refuse_doctype
        self.bound: dict[str, list[str]] = {}  # prefix -> namespaces, innermost last
        self.depth = 0
        self.top: int | None = None  # depth of rdf:RDF while it is open
        self.open: dict[int, _Element] = {}  # those of the document, by depth
        self.property: Property | None = None
        self.li: list[str] | None = None  # text of the open rdf:li

    def _bind(self, prefix: str | None, namespace: str | None) -> None:
        self.bound.setdefault(prefix or "", []).append(namespace or "")

    def _unbind(self, prefix: str | None) -> None:
        self.bound[prefix or ""].pop()

    def _element(self) -> _Element:
        inner = {names[-1]: prefix for prefix, names in sorted(self.bound.items()) if names}
        element = _Element(self.parser.CurrentByteIndex, inner)
        self.open[self.depth] = element
        return element

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise SidecarError(f"elements are nested more than {DEEPEST} levels deep")
        if name == f"{RDF} RDF":
            if self.document.rdf is not None:
                raise SidecarError("it has more than one rdf:RDF")
            self.document.rdf, self.top = self._element(), self.depth
        elif self.top is not None:
            self._start_inside(self.depth - self.top, name, attributes)

    def _start_inside(self, level: int, name: str, attributes: dict[str, str]) -> None:
        """Enter an element of rdf:RDF; level 1 are its children."""
        namespace, _, local = name.rpartition(" ")
        if level == 1 and name == f"{RDF} Description":
            element = self._element()
            self.document.description = self.document.description or element
            for attribute in attributes:
                found, _, plain = attribute.rpartition(" ")
                if (found, plain) in _KNOWN:
                    raise SidecarError(f"{plain} is an attribute; expected a list")
        elif level == 2:
            self.property = _KNOWN.get((namespace, local))
            if self.property is not None and self.property in self.document.lists:
                raise SidecarError(f"{local} is in it twice")
        elif level == 3 and self.property is not None:
            if namespace != RDF or local not in ("Bag", "Seq", "Alt"):
                raise SidecarError(f"{self.property.name} is no list")
            if self.property in self.document.lists:
                raise SidecarError(f"{self.property.name} has two lists")
            self.document.lists[self.property] = self._element()
        elif level == 4 and self.property is not None and name == f"{RDF} li":
            self.li = []

    def _end(self, _: str) -> None:
        if self.depth in self.open:
            self.open.pop(self.depth).end = self.parser.CurrentByteIndex
        level = self.depth - self.top if self.top is not None else -1
        if level == 4 and self.property is not None and self.li is not None:
            self.document.lists[self.property].items.append(clean("".join(self.li)))
            self.li = None
        elif level == 2:
            if self.property is not None and self.property not in self.document.lists:
                raise SidecarError(f"{self.property.name} is no list")
            self.property = None
        elif level == 0:
            self.top = None
        self.depth -= 1

    def _text(self, text: str) -> None:
        if self.li is not None:
            self.li.append(text)


def _refuse_doctype(*_: object) -> None:
    raise SidecarError("it has a DOCTYPE or entities, which are not read for security reasons")


def _parse(data: bytes) -> _Document:
    """Find the lists of keywords in a sidecar. Raises SidecarError."""
    if len(data) > LARGEST:
        raise SidecarError(f"it has {len(data):,} bytes; at most {LARGEST >> 20} MiB are read")
    encoding = _ENCODING.match(data)
    other = encoding and encoding[1].lower() not in (b"utf-8", b"utf8", b"us-ascii")
    if other or b"\0" in data[:64] or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SidecarError("it is not encoded in UTF-8")
    if b"<!DOCTYPE" in data.upper() or b"<!ENTITY" in data.upper():
        _refuse_doctype()
    reader = _Reader()
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise SidecarError(f"it is not well-formed XML ({error})") from error
    if reader.document.rdf is None:
        raise SidecarError("it has no rdf:RDF, so it is not XMP")
    return reader.document


def _add(data: bytes, prop: Property, values: tuple[str, ...]) -> bytes:
    """Insert the values that are missing in one property."""
    document = _parse(data)
    container = document.lists.get(prop)
    missing = [value for value in values if container is None or value not in container.items]
    if not missing:
        return data
    if container is not None:
        rdf = _prefix(data, container)
        return _insert(data, container, [_li(rdf, value) for value in missing])
    parent = document.description or document.rdf
    assert parent is not None, "_parse found rdf:RDF"
    rdf = _prefix(data, parent)
    lines = _property(prop, parent.prefixes.get(prop.namespace), rdf, missing)
    if document.description is None:
        tag = f"{rdf}Description"
        about = f'{rdf}about=""' if rdf else f'r:about="" xmlns:r="{RDF}"'
        lines = [f"<{tag} {about}>", *(f" {line}" for line in lines), f"</{tag}>"]
    return _insert(data, parent, lines)


def _property(prop: Property, bound: str | None, rdf: str, values: list[str]) -> list[str]:
    """Return the lines of a new property; its namespace is declared if it is not `bound`."""
    prefix = prop.prefix if bound is None else bound
    tag = f"{prefix}:{prop.name}" if prefix else prop.name
    declared = "" if bound is not None else f' xmlns:{prefix}="{prop.namespace}"'
    items = [f"  {_li(rdf, value)}" for value in values]
    opened, closed = f" <{rdf}{prop.container}>", f" </{rdf}{prop.container}>"
    return [f"<{tag}{declared}>", opened, *items, closed, f"</{tag}>"]


def _li(rdf: str, value: str) -> str:
    return f"<{rdf}li>{escape(value)}</{rdf}li>"


def _prefix(data: bytes, element: _Element) -> str:
    """Return the prefix of an element's own name: "rdf:", or "" for a default namespace."""
    name = _TAG_NAME.match(data, element.start)
    return f"{name[1].decode()}:" if name and name[1] else ""


def _insert(data: bytes, element: _Element, lines: list[str]) -> bytes:
    """Insert lines at the end of an element, indented like the sidecar."""
    tag = _TAG.match(data, element.start)
    name = _TAG_NAME.match(data, element.start)
    assert tag is not None, "expat found a tag here"
    assert name is not None, "a tag has a name"
    outer = _BREAK.search(data[max(element.start - 1000, 0) : element.start])
    broken = outer[1] if outer else b""  # the line break and indentation of the element
    text = b"".join(
        broken + b" " + line.encode() if broken else line.lstrip().encode() for line in lines
    )
    if tag[0].endswith(b"/>"):
        opened = tag[0][:-2].rstrip() + b">"
        closed = broken + b"</" + name[0][1:] + b">"
        return data[: tag.start()] + opened + text + closed + data[tag.end() :]
    kept = data[: element.end].rstrip(b" \t\r\n")
    return kept + text + data[len(kept) :]
