"""
An endpoint: what one entry of a policy's allow-list names, and nothing of how it is reached.

    api.example.org:443      that name, that port
    *.example.org:443        every name below it, however deep; not example.org itself
    10.1.2.3:8080            that address, and names that lead to it
    [2001:db8::7]:8080       the same, of IPv6

One port each, no ranges, no address blocks: what a policy opens can be read off it and counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ANY_BELOW = "*."
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)", re.ASCII)
_LONGEST_NAME = 253
_LARGEST_PORT = 65535
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A name, an address or a glob, in its one canonical spelling, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def covers(self, host: str, port: int) -> bool:
        """
        Tell whether a canonical host and a port are named by this entry.

        >>> Endpoint("*.example.org", 443).covers("a.b.example.org", 443)
        True
        >>> Endpoint("*.example.org", 443).covers("example.org", 443)
        False
        """
        if port != self.port:
            return False
        if self.host.startswith(ANY_BELOW):
            return host.endswith(self.host[1:]) and len(host) >= len(self.host) and not is_address(host)
        return host == self.host

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """
        Read an entry; ValueError with a sentence, a semicolon, and what to write instead.

        >>> str(Endpoint.parse("API.Example.org:443"))
        'api.example.org:443'
        >>> Endpoint.parse("example.org")
        Traceback (most recent call last):
        ValueError: 'example.org' has no port; write 'example.org:443'
        """
        _refuse_look_alikes(text)
        written, port = _split(text)
        if not _PORT.fullmatch(port) or int(port) > _LARGEST_PORT:
            raise ValueError(f"{_clip(text)} has no single port; write one from 1 to 65535 after the colon")
        glob = written.startswith(ANY_BELOW)
        name = written.removeprefix(ANY_BELOW)
        if "*" in name:
            raise ValueError(
                f"{_clip(text)}: a star stands only for the first label; write such as '*.example.org:443'"
            )
        try:
            host = canonical_host(name)
        except ValueError as error:
            raise ValueError(f"{_clip(text)}: {error}; write such as 'example.org:443'") from error
        if glob and is_address(host):
            raise ValueError(f"{_clip(text)}: below an address there is nothing; write the address alone")
        if not glob and name.endswith("."):
            raise ValueError(f"{_clip(text)} ends its name in a dot; write '{host}:{port}'")
        return cls(f"{ANY_BELOW}{host}" if glob else host, int(port))


def canonical_host(text: str) -> str:
    """
    Spell a host in the one way in which hosts are compared; ValueError for what is none.

    Names are lower-cased and lose a final dot. What ends in a number is an address, in its usual form or not at all:
    ``127.1``, ``0x7f.1`` and ``2130706433`` are spellings that some resolvers take for 127.0.0.1. An address of IPv4
    dressed as one of IPv6 (``::ffff:127.0.0.1``) is what it stands for.

    >>> canonical_host("WWW.Example.ORG."), canonical_host("[0:0:0:0:0:0:0:1]")
    ('www.example.org', '::1')
    >>> canonical_host("127.1")
    Traceback (most recent call last):
    ValueError: '127.1' is no address in its usual form
    """
    if text.startswith("[") and text.endswith("]"):
        return _address(text[1:-1], 6)
    name = text.removesuffix(".").lower() if text.isascii() else text
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _address(name, 4)
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{_clip(text)} is no host name")
    return name


def is_address(host: str) -> bool:
    """Tell whether a canonical host is an address, not a name."""
    return ":" in host or host.rpartition(".")[2].isdigit()


def _address(text: str, version: int) -> str:
    import ipaddress  # noqa: PLC0415 - most policies name none

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version or "%" in text:
        raise ValueError(f"{_clip(text)} is no address in its usual form")
    mapped = address.ipv4_mapped if address.version == 6 else None  # noqa: PLR2004 - the version
    return str(mapped or address)


def _split(text: str) -> tuple[str, str]:
    host, colon, port = text.rpartition(":")
    if text.startswith("["):
        if text.endswith("]"):
            host, colon, port = text, "", ""
    elif ":" in host:
        raise ValueError(f"{_clip(text)} is no name with a port; write an address of IPv6 such as '[2001:db8::7]:443'")
    if not colon:
        raise ValueError(f"{_clip(text)} has no port; write '{_clip(text)[1:-1]}:443'")
    return host, port


def _refuse_look_alikes(text: str) -> None:
    """Refuse what people write who think of something else, each with the entry that they may have meant."""
    url = _URL.match(text)
    if url is not None:
        scheme, place = url[1].lower(), url[2].rpartition("@")[2]
        port = "" if re.search(r":\d+$", place) else f":{_PORTS.get(scheme, 443)}"
        raise ValueError(f"{_clip(text)} is a URL; write '{place}{port}'")
    if "/" in text:
        meant = (
            "a range of addresses" if text[:1].isdigit() or text.startswith("[") or "::" in text else "more than a name"
        )
        raise ValueError(f"{_clip(text)} is {meant}; write one entry for each name or address, without a slash")
    if not text.isascii():
        raise ValueError(f"{_clip(text)} is not ASCII; write {_ascii_form(text)}")


def _ascii_form(text: str) -> str:
    name, _, port = text.partition(":")
    try:
        form = name.encode("idna").decode()
    except UnicodeError:
        form = ""
    # Where the older rules that Python has lose a letter, the newer ones name another host: then we do not guess.
    kept = bool(form) and form.encode().decode("idna") == name.lower()
    return (
        f"'{form}:{port if port.isascii() and port.isdigit() else 443}'"
        if kept
        else "the name as it is registered, beginning with xn--"
    )


def _clip(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")  # noqa: PLR2004 - enough to know it by
