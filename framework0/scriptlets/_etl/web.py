"""HTTP as extractors and loaders need it: bounded in size and time, through the proxy that the environment names."""

from __future__ import annotations

import http.client
import io
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.context import Context

_SHOWN_BYTES = 300
_ANSWER_BYTES = 2**20
_PIECE_BYTES = 65_536


class WebError(RuntimeError):
    """A request was not answered, or not with success; the text has the method, the address and the reason."""


def is_web(url: str) -> bool:
    """Tell whether a text is an address to ask by HTTP."""
    return urlsplit(url).scheme in {"http", "https"}


def request(
    method: str,
    url: str,
    context: Context,
    options: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    body: BinaryIO | None = None,
) -> urllib.request.Request:
    """
    Make a request with the headers and the token that the options name; theirs go before ``headers``.

    No header is sent again to where a redirect leads: that may be somebody else. Raises ValueError for an address
    that is none.
    """
    if not is_web(url) or not urlsplit(url).hostname:
        raise ValueError(f"{url!r} is no address: http://host/path or https://host/path")
    if "@" in urlsplit(url).netloc:
        raise ValueError("an address must hold no password: name a secret as token_secret")
    made = urllib.request.Request(url, data=body, method=method)  # noqa: S310 - of the two schemes above
    for name, value in {**headers, **options.get("headers", {})}.items():
        if not isinstance(value, str):
            raise ValueError(f"the header {name} is {value!r:.80}, not a text")  # noqa: TRY004 - the recipe's word
        made.add_unredirected_header(name, value)
    if "token_secret" in options:  # after the others: it counts
        made.add_unredirected_header("Authorization", f"Bearer {context.secret(options['token_secret'])}")
    return made


@contextmanager
def answered(wanted: urllib.request.Request, options: Mapping[str, Any]) -> Iterator[BinaryIO]:
    """
    Send a request, and give the body of the answer as a stream. Raises WebError for anything but a success.

    Only a GET follows where it is sent on to: another would become one on the way, and deliver nothing.
    """
    handlers = [] if wanted.get_method() == "GET" else [_Stay()]
    what = f"{wanted.get_method()} {wanted.full_url}"
    try:
        with urllib.request.build_opener(*handlers).open(wanted, timeout=options["timeout_s"]) as answer:
            yield io.BufferedReader(_Capped(answer, options.get("max_bytes", _ANSWER_BYTES), what))
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(_SHOWN_BYTES).decode("utf-8", "replace").strip()
        usual = http.client.responses.get(error.code, "")
        if str(error.reason).casefold() != usual.casefold():  # our proxy says there why
            said = ""
        raise WebError(f"{what}: {error.code} {error.reason}{': ' if said else ''}{said}") from None
    except urllib.error.URLError as error:
        raise WebError(f"{what}: {error.reason}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise WebError(f"{what}: {type(error).__name__}: {error}") from error


def send(wanted: urllib.request.Request, options: Mapping[str, Any]) -> None:
    """Send a request, and read its answer to the end. Raises WebError for anything but a success."""
    with answered(wanted, options) as answer:
        while answer.read(_PIECE_BYTES):
            pass


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401 - of no interest
        """Return nothing: the answer is an error then."""


class _Capped(io.RawIOBase):
    """Reads an answer to its end, and refuses one that is too long or was cut."""

    def __init__(self, answer: Any, most_bytes: int, what: str) -> None:  # noqa: ANN401 - what urlopen gives
        self._answer, self._left, self._most, self._what = answer, most_bytes, most_bytes, what

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        piece = self._answer.read(min(len(buffer), self._left + 1))
        if not piece and self._answer.length:
            raise WebError(f"{self._what}: the answer was cut off, {self._answer.length} bytes are missing")
        self._left -= len(piece)
        if self._left < 0:
            raise WebError(f"{self._what}: the answer has more than {self._most} bytes: raise max_bytes")
        buffer[: len(piece)] = piece
        return len(piece)
