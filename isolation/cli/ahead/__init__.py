"""
The command line's pool: a process in the background that has imported what commands need, and forks one for each.

::

    isolation run ──(client)── is there a pool of this key? ── no ──▶ runs it itself, then starts a pool
                                     │ yes                                       │
          arguments, environment, folder, umask, descriptors                     ▼
                                     ▼                                  server: imports all, listens
    client ◀── how it ended ── attendant ◀── fork ──────────────────────── one thread, no file open
       └── signals, or its end ──▶ └── fork ──▶ the command: ``boundary.run``, as if it had been started there

Whoever hands over takes part in nothing else: a pool that is not there, does not answer at once, or runs other code
costs some milliseconds, and the command runs as it does without.
"""
