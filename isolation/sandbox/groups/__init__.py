"""
A run's own control group: where its limits stand, and where its counters are read, on cgroup v1 and v2.

A run has a group of its own, the container's group lies in it, and so the counters outlive the container::

    v1   <root>/<controller>/isolation/<cell>/<container id>          for memory, cpu, cpuacct, pids, blkio
    v2   <root>/isolation/<cell>/<container id>                       cgroupfs driver
    v2   <root>/isolation.slice/isolation-<cell>.slice/docker-….scope systemd driver

What the kernel lacks is None. Sources: the kernel's cgroup-v1/*.rst and cgroup-v2.rst.
"""
