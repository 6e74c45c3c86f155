"""What the options of extractors and loaders may be: declarations for ``params``, without what they make use of."""

from __future__ import annotations

from typing import Any

Schema = dict[str, dict[str, Any]]

FORMAT: dict[str, Any] = {"enum": ["csv", "jsonl", "json"]}

CSV: Schema = {
    "delimiter": {"type": "string", "default": ",", "pattern": '[^\\r\\n"]'},
    "columns": {"type": "array", "minimum": 1, "items": {"type": "string"}},
}
TEXT: Schema = {"encoding": {"type": "string", "default": "utf-8", "pattern": "[A-Za-z0-9_-]+"}, **CSV}
WEB: Schema = {
    "headers": {"type": "object", "default": {}},
    "token_secret": {"type": "string"},
    "timeout_s": {"type": "number", "default": 30, "minimum": 0.001},
    "max_bytes": {"type": "integer", "default": 64 * 2**20, "minimum": 0},
}
DATABASE: Schema = {
    "password_secret": {"type": "string"},
    "timeout_s": {"type": "integer", "default": 30, "minimum": 1},
}
QUERY: Schema = {
    "query": {"type": "string"},
    "table": {"type": "string"},
    "parameters": {"type": ["array", "object"], "default": []},
}
TABLE: Schema = {
    "table": {"type": "string", "required": True},
    "mode": {"enum": ["append", "replace"], "default": "append"},
    "columns": {"type": "array", "minimum": 1, "items": {"type": "string"}},
}
S3: Schema = {
    "endpoint_url": {"type": "string", "pattern": "https?://[^/@]+/?"},
    "region": {"type": "string", "default": "us-east-1", "pattern": "[a-z0-9-]+"},
    "access_key_secret": {"type": "string", "default": "AWS_ACCESS_KEY_ID"},
    "secret_key_secret": {"type": "string", "default": "AWS_SECRET_ACCESS_KEY"},
    "session_token_secret": {"type": "string"},
    "anonymous": {"type": "boolean", "default": False},
    "timeout_s": {"type": "number", "default": 30, "minimum": 0.001},
}
