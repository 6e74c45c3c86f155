"""Framework0's orchestrator, as scriptlets see it; a recipe's own ``orchestrator`` folder adds to it."""

__path__.append("/package/orchestrator")
