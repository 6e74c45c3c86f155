"""Framework0's core services; a recipe's own ``src`` folder adds to it."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
