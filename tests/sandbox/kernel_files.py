"""Files as real kernels write them for a group, in both versions, and what is read of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.model.policy import Limits
from isolation.sandbox.groups.group import Reading

if TYPE_CHECKING:
    from pathlib import Path


LIMITS = Limits.model_validate({"memory": "64MiB", "pids": 32, "cpus": 0.5})
CELL = "isolation-20250102-030405-0a1b2c3d-1"
V1 = {
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    "memory/memory.use_hierarchy": "1\n",
    "memory/memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "memory/memory.stat": "cache 1\nrss 2\ntotal_cache 8192\ntotal_rss 4096\n",
    "memory/memory.usage_in_bytes": "20480\n",
    "memory/memory.max_usage_in_bytes": "65536\n",
    "memory/memory.kmem.usage_in_bytes": "1024\n",
    "cpuacct/cpuacct.usage": "2500000000\n",
    "cpuacct/cpuacct.usage_user": "2000000000\n",
    "cpuacct/cpuacct.usage_sys": "500000000\n",
    "cpu/cpu.stat": "nr_periods 12\nnr_throttled 3\nthrottled_time 250000000\n",
    "pids/pids.current": "4\n",
    "pids/pids.peak": "9\n",
    "blkio/blkio.throttle.io_service_bytes_recursive": (
        "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 0\n254:0 Total 12288\n"
        "254:16 Read 1\n254:16 Write 2\nTotal 12291\n"
    ),
}
V2 = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_throttled 0\nthrottled_usec 0\n",
    "memory.current": "20480\n",
    "memory.peak": "65536\n",
    "memory.stat": "anon 4096\nfile 8192\nkernel 1024\nkernel_stack 512\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n",
    "pids.current": "4\n",
    "pids.peak": "9\n",
    "pids.events": "max 2\n",
    "io.stat": "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n254:16 rbytes=1 wbytes=2 rios=1 wios=1\n",
    "docker-abc.scope/cpu.stat": "usage_usec 2500000\nnr_throttled 3\nthrottled_usec 250000\n",
}
EXPECTED = Reading(
    cpu_s=2.5,
    cpu_user_s=2.0,
    cpu_system_s=0.5,
    throttled_s=0.25,
    memory_bytes=20480,
    memory_peak_bytes=65536,
    memory_anon_bytes=4096,
    memory_file_bytes=8192,
    memory_kernel_bytes=1024,
    pids=4,
    pids_peak=9,
    io_read_bytes=4097,
    io_write_bytes=8194,
)


def lay(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
