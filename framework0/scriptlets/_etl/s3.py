"""
One object put into S3, or a server that speaks as it does: a signed PUT (AWS Signature Version 4).

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import BufferedRandom


class Keys(NamedTuple):
    """Who signs; ``token`` is that of a session, or empty."""

    access: str
    secret: str
    token: str = ""


def address(bucket: str, key: str, region: str, endpoint: str | None) -> str:
    """
    Return the address of an object.

    By the bucket's own name at AWS, unless its certificate would not cover it; by path at any other endpoint.

    >>> address("sales", "2026/a b.csv", "eu-west-1", None)
    'https://sales.s3.eu-west-1.amazonaws.com/2026/a%20b.csv'
    >>> address("sales.eu", "a", "eu-west-1", None)
    'https://s3.eu-west-1.amazonaws.com/sales.eu/a'
    >>> address("sales", "a", "eu-west-1", "http://minio:9000/")
    'http://minio:9000/sales/a'
    """
    path = quote(key, safe="/-_.~")
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}/{path}"
    host = f"s3.{region}.amazonaws.com"
    return f"https://{host}/{bucket}/{path}" if "." in bucket else f"https://{bucket}.{host}/{path}"


def sign(
    method: str, url: str, headers: Mapping[str, str], payload_sha256: str, *, keys: Keys, region: str, now: datetime
) -> dict[str, str]:
    """Return the headers with those that sign them: ``now`` is in UTC, and the URL's path is quoted already."""
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    whole = {**headers, "Host": parts.netloc, "x-amz-date": stamp, "x-amz-content-sha256": payload_sha256}
    if keys.token:
        whole["x-amz-security-token"] = keys.token
    canonical = {name.lower(): " ".join(value.split()) for name, value in whole.items()}
    names = ";".join(sorted(canonical))
    asked = [method, parts.path or "/", _query(parts.query)]
    asked += [f"{name}:{canonical[name]}" for name in sorted(canonical)] + ["", names, payload_sha256]
    digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signed = hmac.digest(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}".encode(), "sha256").hex()
    said = f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signed}"
    return {**whole, "Authorization": said}


def signed(
    method: str, url: str, headers: Mapping[str, str], body: BufferedRandom, *, keys: Sequence[str], region: str
) -> dict[str, str]:
    """Return the headers that send a file from its beginning, signed now."""
    digest = hashlib.file_digest(body, "sha256").hexdigest()
    body.seek(0)
    now = datetime.now(UTC)
    return sign(method, url, headers, digest, keys=Keys(*keys), region=region, now=now)


def _query(query: str) -> str:
    """Put the parts of a query, quoted already, into the order that is signed."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return "&".join(sorted(f"{name}={value}" for name, _, value in pairs))
