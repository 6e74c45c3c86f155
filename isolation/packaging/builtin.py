"""What the image brings for recipes: the framework, which none replaces, and the built-in scriptlets, which one may."""

from __future__ import annotations

OWN_MODULES = frozenset(
    {
        "orchestrator.context",
        "scriptlets._etl",
        "scriptlets._params",
        "scriptlets.framework",
        "src.core.logger",
    }
)

BUILTIN_PACKAGE = "scriptlets.builtin"
"""Where the built-in ones are found also if the recipe has modules of the same names."""

BUILTIN: dict[str, frozenset[str]] = {
    "scriptlets.extractors": frozenset(
        {"CsvExtractor", "DatabaseExtractor", "HttpExtractor", "JsonLinesExtractor", "SqlExtractor"}
    ),
    "scriptlets.transformers": frozenset({"DataTransformerScriptlet"}),
    "scriptlets.loaders": frozenset(
        {
            "ArtifactLoader", "ContextLoader", "CsvLoader", "DatabaseLoader", "HttpLoader", "JsonLinesLoader",
            "S3Loader", "SqlLoader",
        }
    ),
}  # fmt: skip
"""The built-in scriptlets of each module."""
