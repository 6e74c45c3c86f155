"""
What a cell is told of its way out: where the socket is, where to listen for its steps, what to tell them.

Each name of an endpoint of TCP has a loopback address of its own, by the cell's hosts file; so a program connects to
the very name and port that it would use anyway, and two names may have the same port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isolation.model.network import Network

FOLDER = "/egress"
SOCKET = "proxy.sock"
HOSTS = "/etc/hosts"
PORT = 3128
"""The same in every cell, so that a run's environment is the same every time; the usual one of HTTP proxies."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def way_out(network: Network) -> dict[str, Any] | None:
    """Write the plan's part about the network; None where nothing is allowed."""
    if not network.entries:
        return None
    at = addresses(network)
    return {
        "socket": f"{FOLDER}/{SOCKET}",
        "port": PORT,
        "environment": variables(network),
        "tcp": [[at[one.host], one.port, str(one)] for one in dict.fromkeys(network.tcp)],
    }


def addresses(network: Network) -> dict[str, str]:
    """Return the cell's loopback address for each name of an endpoint of TCP, in the order of the policy."""
    names = dict.fromkeys(one.host for one in network.tcp)
    return {name: f"127.64.0.{number}" for number, name in enumerate(names, 1)}


def hosts(network: Network) -> str:
    """Write the hosts file of the cell: each of these names with its address."""
    return "".join(f"{address} {name}\n" for name, address in addresses(network).items())


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
