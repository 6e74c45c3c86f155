"""
What the container starts: ``python3 -s -P -B -S /opt/runner/run.py``.

Everything here is the standard library's. After the first step has started, nothing in this container is believed.

What is imported is a good part of what a cell costs, in processor time and in memory: an interpreter that does nothing
takes a third of what it takes with typing, json, re, enum, hashlib and their like. So the runner does without.
"""

import gc
import os
import sys

sys.path.insert(0, "/opt/runner")

if __name__ == "__main__":
    gc.disable()  # nothing of what is imported is ever garbage
    import plain

    plain.stand_in()
    from supervisor import main

    os._exit(main())  # nothing is left to tidy: the interpreter's own end costs as much as a small step
