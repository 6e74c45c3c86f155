"""
Examines this host: what a cell needs, what is there, what it means, and what to do. Nothing here raises.

::

    project    Python, uv, the state folder, the runner image
    engine     whether it answers, how old it is, what it warns of
    runtimes   runc, crun, gVisor: versions, known holes, what keeps one from working
    limits     control groups, swap
    walls      system calls, security module, the kernel's own settings
"""

from isolation.sandbox.doctor.check import Check, Host, Patient
from isolation.sandbox.doctor.examine import examine, examine_with
from isolation.sandbox.doctor.project import source_digest

__all__ = ["Check", "Host", "Patient", "examine", "examine_with", "source_digest"]
