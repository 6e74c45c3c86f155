"""Framework0's orchestrator: the same names on the host and in a cell, where a recipe's own folder adds to it."""

__path__.append("/package/orchestrator")
