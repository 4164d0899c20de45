"""Keywords are added to sidecars, and nothing else changes."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.bulk.xmp import (
    HIERARCHY,
    LARGEST,
    SUBJECT,
    TAGS_LIST,
    SidecarError,
    add_keywords,
    clean,
    keywords_of,
    read_keywords,
)

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"

DARKTABLE = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="{DC}"
    xmlns:darktable="http://darktable.sf.net/"
   xmp:Rating="4"
   darktable:note="a &lt; b > c">
   <!-- kept -->
   <dc:subject>
    <rdf:Seq>
     <rdf:li>holiday</rdf:li>
     <rdf:li>caf\u00e9 &amp; bar</rdf:li>
    </rdf:Seq>
   </dc:subject>
   <darktable:history><rdf:Seq/></darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
COMPACT = f"""<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='{RDF}'>\
<rdf:Description rdf:about='' xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='3' \
xmp:Label='a/>b'/></rdf:RDF></x:xmpmeta>"""
EMPTY_BAG = f"""<q:RDF xmlns:q="{RDF}">
 <q:Description q:about="" xmlns="{DC}">
  <subject><q:Bag /></subject>
 </q:Description>
</q:RDF>"""
DEFAULT = f"""<RDF xmlns="{RDF}" xmlns:r="{RDF}">
</RDF>"""
CASES = {"darktable": DARKTABLE, "compact": COMPACT, "prefixes": EMPTY_BAG, "default": DEFAULT}
CASES |= {"mark": "\ufeff" + DARKTABLE, "windows": DARKTABLE.replace("\n", "\r\n")}


def wrap(inside: str, attributes: str = "") -> bytes:
    """Return a sidecar with one property."""
    return (
        f'<r:RDF xmlns:r="{RDF}" xmlns:dc="{DC}"><r:Description {attributes}>{inside}'
        "</r:Description></r:RDF>"
    ).encode()


def test_a_new_sidecar_is_exactly_this() -> None:
    data = add_keywords(None, keywords_of(["cat", "R&B"], "AI"))

    assert (
        data.decode()
        == f"""\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about="">
   <dc:subject xmlns:dc="{DC}">
    <rdf:Bag>
     <rdf:li>cat</rdf:li>
     <rdf:li>R&amp;B</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <digiKam:TagsList xmlns:digiKam="http://www.digikam.org/ns/1.0/">
    <rdf:Seq>
     <rdf:li>AI/cat</rdf:li>
     <rdf:li>AI/R&amp;B</rdf:li>
    </rdf:Seq>
   </digiKam:TagsList>
   <lr:hierarchicalSubject xmlns:lr="http://ns.adobe.com/lightroom/1.0/">
    <rdf:Bag>
     <rdf:li>AI|cat</rdf:li>
     <rdf:li>AI|R&amp;B</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
    )


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
def test_keywords_are_added_and_every_other_byte_is_kept(text: str) -> None:
    before = text.encode()
    old = read_keywords(before)
    keywords = keywords_of(["cat", "holiday", "café & bar"], "AI")

    after = add_keywords(before, keywords)

    found = read_keywords(after)
    for prop, values in keywords.items():
        assert found[prop] == [*old[prop], *(v for v in values if v not in old[prop])]
    rest = iter(after)
    removed = bytes(byte for byte in before.replace(b"/>", b">").replace(b"Bag >", b"Bag>"))
    assert all(byte in rest for byte in removed)  # a subsequence: nothing was removed
    assert add_keywords(after, keywords) == after
    ET.fromstring(after)


def test_items_are_inserted_in_the_style_of_the_sidecar() -> None:
    after = add_keywords(DARKTABLE.encode(), {SUBJECT: ("cat",)}).decode()

    item = "     <rdf:li>café &amp; bar</rdf:li>\n"
    assert after == DARKTABLE.replace(item, f"{item}     <rdf:li>cat</rdf:li>\n")


def test_attributes_of_a_closed_description_are_kept() -> None:
    after = add_keywords(COMPACT.encode(), {SUBJECT: ("cat",)}).decode()

    added = f'><dc:subject xmlns:dc="{DC}"><rdf:Bag><rdf:li>cat</rdf:li></rdf:Bag></dc:subject>'
    assert after == COMPACT.replace("b'/>", f"b'{added}</rdf:Description>")


@given(
    st.lists(st.text(st.characters(), max_size=12), max_size=6),
    st.lists(st.text(st.characters(), max_size=12), max_size=6),
    st.none() | st.text(st.characters(), max_size=8),
    st.sampled_from([None, *CASES.values()]),
)
def test_any_labels_are_added_once(
    first: list[str], second: list[str], prefix: str | None, text: str | None
) -> None:
    data = None if text is None else text.encode()

    once = add_keywords(data, keywords_of(first, prefix))
    twice = add_keywords(once, keywords_of([*second, *first], prefix))

    assert add_keywords(twice, keywords_of([*first, *second], prefix)) == twice
    found = read_keywords(twice)
    for prop, values in keywords_of([*first, *second], prefix).items():
        assert set(values) <= set(found[prop])
        assert len(set(found[prop])) == len(found[prop])


def test_no_label_leaves_a_sidecar_alone() -> None:
    assert add_keywords(DARKTABLE.encode(), keywords_of([" ", "\0"])) == DARKTABLE.encode()


def test_labels_add_no_levels() -> None:
    keywords = keywords_of(["and/or", "a|b", "and-or"], "AI/2026| x")

    assert keywords[SUBJECT] == ("and/or", "a|b", "and-or")
    assert keywords[TAGS_LIST] == ("AI/2026/x/and-or", "AI/2026/x/a-b")
    assert keywords[HIERARCHY] == ("AI|2026|x|and-or", "AI|2026|x|a-b")


def test_texts_are_cleaned() -> None:
    assert clean(" e\u0301\x00\n a\ud800\ufffe ") == "é a"


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + wrap(
    "<dc:subject><r:Bag><r:li>&b;</r:li></r:Bag></dc:subject>"
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BOMB, "DOCTYPE"),
        (b'<!doctype x SYSTEM "file:///etc/passwd">' + wrap(""), "DOCTYPE"),
        (b"", "not well-formed"),
        (b"<a>", "not well-formed"),
        (DARKTABLE.encode()[:-30], "not well-formed"),
        (wrap("&undefined;"), "not well-formed"),
        (wrap("<dc:subject><r:Bag><r:li>\xff</r:li></r:Bag></dc:subject>")[:-9], "not well-formed"),
        (b"<html></html>", "not XMP"),
        (DARKTABLE.encode("utf-16"), "not encoded in UTF-8"),
        (DARKTABLE.replace("UTF-8", "latin-1").encode("latin-1"), "not encoded in UTF-8"),
        (wrap("", 'dc:subject="cat"'), "is an attribute"),
        (wrap("<dc:subject>cat</dc:subject>"), "is no list"),
        (wrap("<dc:subject/>"), "is no list"),
        (wrap("<dc:subject><dc:Bag/></dc:subject>"), "is no list"),
        (wrap("<dc:subject><r:Bag/><r:Bag/></dc:subject>"), "two lists"),
        (wrap("<dc:subject><r:Bag/></dc:subject>" * 2), "twice"),
        (wrap("<dc:a>" * 300 + "</dc:a>" * 300), "nested"),
        (wrap(f'<r:RDF xmlns:r="{RDF}"/>'), "more than one"),
        (b" " * (LARGEST + 1), "at most 16 MiB"),
    ],
)
def test_a_sidecar_that_cannot_be_merged_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(SidecarError, match=message):
        add_keywords(data, keywords_of(["cat"]))


def test_prefixes_that_would_clash_are_refused() -> None:
    data = f'<dc:RDF xmlns:dc="{RDF}"><dc:Description/></dc:RDF>'.encode()

    with pytest.raises(SidecarError, match=r"ambiguous|no list"):
        add_keywords(data, keywords_of(["cat"]))


@given(st.binary(max_size=40), st.integers(0, len(DARKTABLE)))
def test_damaged_sidecars_are_refused_or_merged(noise: bytes, place: int) -> None:
    data = DARKTABLE.encode()
    data = data[:place] + noise + data[place + len(noise) :]
    keywords = keywords_of(["cat"])

    try:
        after = add_keywords(data, keywords)
    except SidecarError:
        return

    assert add_keywords(after, keywords) == after
