"""
The way out of a cell, for exactly what its policy lists.

    step ─▶ forwarder (loopback, inside) ─▶ unix socket ─▶ proxy (ours) ─▶ resolve, check, connect ─▶ the world

    folder     one folder a cell with the socket in it; the only module that the rest of the sandbox imports
    proxy      the socket and the threads behind it
    exchange   one connection from the cell: its request, our answer
    dial       from a name to a connection
    allow      whether a name, and whether an address; pure
    log        what was decided
"""
