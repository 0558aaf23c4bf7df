"""Links in what students wrote: the words stay, the address is shown beside them, and nothing can be clicked on.

formgrader can set marks and open terminals, and its own address is not known when a page is made; a link through
another site can lead back to it. So there no link of a student's is one. On a student's own page of feedback a link to
a public site may stay.
"""

from __future__ import annotations

import html
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from bleach.html5lib_shim import Filter

from autograder.core.text import one_line

MOST_ADDRESS = 2000  # characters of a link that stays
MOST_SHOWN = 200  # characters of an address beside its words
# Nothing that one browser reads otherwise than the next: plain letters, no user, no port, no backslash, and a last part
# of letters, since a host that ends with a number is an IP address in one of its spellings (0x7f.1, 127.0.0.1).
PLACE = r"(?P<host>(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{1,59}))"
WEB = re.compile(rf"https?://{PLACE}(?:[/?#][!#-&(-;=?-\[\]-z|~]*)?", re.IGNORECASE | re.ASCII)
MAIL = re.compile(rf"mailto:[a-z0-9._+-]{{1,64}}@{PLACE}", re.IGNORECASE | re.ASCII)
# Names that lead to this machine or into the house (RFC 6761, RFC 8375, RFC 2606, and custom).
_PRIVATE = "localhost local internal intranet private corp home lan localdomain arpa test invalid onion alt"
PRIVATE = frozenset(_PRIVATE.split())
Token = dict[str, Any]


class Keep(Enum):
    """Which links of a text may be clicked on."""

    NONE = "none"
    PUBLIC = "public"  # those to public sites
    COURSE = "course"  # the course's own text: these, and its headings' anchors
    PERSON = "person"  # written by the staff: all that carry no script


def stays(address: str, keep: Keep) -> bool:
    """Whether a link to this address may be clicked on; bleach has already judged its protocol."""
    if keep is Keep.PERSON:
        return re.match(r"\s*(?:data|attachment)\s*:", address, re.IGNORECASE) is None
    return (keep is Keep.COURSE and address.startswith("#")) or (keep is not Keep.NONE and is_public(address))


def is_public(address: str) -> bool:
    """Whether an address leads to a web page or a mailbox of a host that looks public: not this machine, no IP
    address, no name of a private network."""
    found = WEB.fullmatch(address) or MAIL.fullmatch(address)
    if found is None or len(address) > MOST_ADDRESS:
        return False
    host = found["host"].lower()
    own = own_name()
    return host.rpartition(".")[2] not in PRIVATE and host != own and host.partition(".")[0] != own.partition(".")[0]


@lru_cache(1)
def own_name() -> str:
    """What this machine is called."""
    return socket.gethostname().lower()


def plain(address: str) -> str:
    """An address as a reader may see it."""
    shown = one_line(address.strip())
    return shown if len(shown) <= MOST_SHOWN else f"{shown[:MOST_SHOWN]}…"


class PlainLinks(Filter):  # type: ignore[misc]
    """A filter for bleach, to be called after its own cleaning: whatever syntax made a link, here it is an element.

    A link that stays gives its page neither the opener nor the address of this one.
    """

    def __init__(self, source: Any, keep: Keep = Keep.NONE) -> None:
        super().__init__(source)
        self.keep = keep

    def __iter__(self) -> Iterator[Token]:
        opened: list[_Link] = []  # in a cell of a table, a link can stand within another
        for token in super().__iter__():
            kind = token["type"]
            if token.get("name") == "a" and kind == "StartTag":
                address = html.unescape(token["data"].get((None, "href"), ""))
                opened.append(_Link(address, stays(address, self.keep)))
                yield from [_live(token, address)] if opened[-1].stays else []
            elif token.get("name") == "a" and kind == "EndTag" and opened:
                link = opened.pop()
                yield from [token] if link.stays else link.beside()
            else:
                for link in opened:
                    link.read(token)
                yield token


@dataclass
class _Link:
    """A link that has been opened, and the words in it so far."""

    address: str
    stays: bool
    words: str = ""

    def read(self, token: Token) -> None:
        if len(self.words) <= MOST_ADDRESS and token["type"] in ("Characters", "SpaceCharacters"):
            self.words += token["data"]
        elif token["type"] == "Entity":
            self.words += html.unescape(f"&{token['name']};")

    def beside(self) -> list[Token]:
        """What stands after the words of a link that is none: its address, unless that is what the words are."""
        shown = plain(self.address)
        if not shown or self.words.strip() in (self.address.strip(), self.address.removeprefix("mailto:")):
            return []
        space: Token = {"type": "Characters", "data": " "}
        return [space, _tag("StartTag", "code"), {"type": "Characters", "data": shown}, _tag("EndTag", "code")]


def _live(token: Token, address: str) -> Token:
    """The element of a link that stays, with its address as it was judged."""
    given = token["data"]
    kept = {name: given[name] for name in ((None, "title"), (None, "class")) if name in given}
    own = {(None, "href"): address.replace("&", "&amp;"), (None, "rel"): "noopener noreferrer"}
    return {**token, "data": {**own, **kept}}


def _tag(kind: str, name: str) -> Token:
    return {"type": kind, "name": name, "namespace": None, "data": {}}
