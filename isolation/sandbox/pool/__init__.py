"""
Cells that stand ready: started, attested, with nothing in them but our own runner; each is used once.

::

    demand, pressure ─▶ pool ─make─▶ idle cell ─take─▶ fitted to a policy, a package, a snapshot ─▶ used ─▶ removed
"""
