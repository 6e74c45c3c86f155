"""Framework0's orchestrator, as far as scriptlets see it; a recipe's own ``orchestrator`` folder adds to it."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
