"""Framework0's core services; a recipe's own ``src/core`` folder adds to it."""

__path__.append("/package/src/core")
