"""Framework0's name for the clients of a context server; on the host alone."""

from isolation.client.context import AsyncContextClient, ContextClient

__all__ = ["AsyncContextClient", "ContextClient"]
