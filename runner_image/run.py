"""
What the container starts: ``python3 -s -P -B -S /opt/runner/run.py``.

Everything here is the standard library's. After the first step has started, nothing in this container is believed.
"""

import os
import sys

sys.path.insert(0, "/opt/runner")

if __name__ == "__main__":
    from supervisor import main

    os._exit(main())  # nothing is left to tidy: the interpreter's own end costs as much as a small step
