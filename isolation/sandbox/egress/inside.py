"""What a cell is told of its way out: where the socket is, where to listen for its steps, what to tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isolation.model.network import Network

FOLDER = "/egress"
SOCKET = "proxy.sock"
PORT = 3128
"""The same in every cell, so that a run's environment is the same every time; the usual one of HTTP proxies."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def way_out(network: Network) -> dict[str, Any] | None:
    """Write the plan's part about the network; None where nothing is allowed."""
    if not network.allow:
        return None
    return {"socket": f"{FOLDER}/{SOCKET}", "port": PORT, "environment": variables(network)}


def variables(network: Network) -> dict[str, str]:
    """
    Return the environment variables by which programs find the proxy.

    The cell's own loopback is not asked of the proxy, unless the policy lists that very name or address: then the
    host's is meant.
    """
    proxy = f"http://127.0.0.1:{PORT}"
    listed = {entry.host for entry in network.allow}
    return {
        "HTTP_PROXY": proxy,
        "HTTPS_PROXY": proxy,
        "http_proxy": proxy,
        "https_proxy": proxy,
        "NO_PROXY": ",".join(host for host in _LOOPBACK if host not in listed),
    }
