"""Calls a built-in scriptlet as a step does, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.runner.conftest import Load


class Kit:
    """A context, a folder for its artifacts, and the three modules of the library."""

    def __init__(self, load: Load, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._load = load
        self.artifacts = folder / "artifacts"
        monkeypatch.setattr(load("scriptlets._etl.rows"), "FOLDER", str(folder / "rows"))
        monkeypatch.setattr(load("orchestrator.context"), "ARTIFACTS", str(self.artifacts))
        self.context: Any = None
        self.renew()

    def renew(self, secrets: dict[str, str] | None = None, **values: object) -> None:
        """Begin with another context."""
        self.context = self._load("orchestrator.context").Context(dict(values), secrets=secrets)

    def call(self, module: str, function: str, **params: object) -> Any:  # noqa: ANN401 - what run returned
        """Call a scriptlet."""
        found = self._load(f"scriptlets.{module}")
        return self._load("scriptlets.framework").call(found, function, self.context, params)[0]

    def extract(self, function: str, url: str, **options: object) -> Any:  # noqa: ANN401 - the rows
        """Extract, and return the rows."""
        outputs = self.call("extractors", function, source_url=url, connection_params=options)
        rows = list(self._load("scriptlets._etl.rows").take(self.context, "etl.rows"))
        assert outputs == {"rows": len(rows)}
        return rows

    def load(self, function: str, url: str, rows: list[Any], **options: object) -> None:
        """Load rows."""
        self.context.set("etl.rows", rows)
        assert self.call("loaders", function, target_url=url, load_options=options) == {"rows": len(rows)}
        assert url == "etl.rows" or "etl.rows" not in self.context
