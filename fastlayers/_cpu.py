"""How many threads this process should use by default, and where that number comes from."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_OF_SELF = Path("/proc/self/cgroup")


def _positive_int(text: str | None) -> int | None:
    """First entry of an OMP_NUM_THREADS-style list, or None when it is not a positive number."""
    first = (text or "").split(",")[0].strip()
    return int(first) if first.isdigit() and int(first) > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _quota_at(folder: Path) -> float | None:
    """CPUs that one control group grants (version 2's cpu.max, version 1's cfs files), None when unlimited."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
        return int(quota) / int(period)
    return None


def cgroup_quota(root: Path = CGROUP_ROOT, of_self: Path = CGROUP_OF_SELF) -> float | None:
    """The tightest CPU quota on the way from this process's control group up to the root, None when there is none."""
    quotas = []
    for line in _read(of_self).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root if not controllers else root / controllers
        folder = mount / path.lstrip("/")
        for level in (folder, *folder.parents):
            quotas.append(_quota_at(level))
            if level == mount:
                break
    return min((quota for quota in quotas if quota is not None), default=None)


def default_threads() -> tuple[int, str]:
    """(threads, reason): FASTLAYERS_NUM_THREADS, else OMP_NUM_THREADS, else CPUs of the affinity mask and quota."""
    for variable in ("FASTLAYERS_NUM_THREADS", "OMP_NUM_THREADS"):
        threads = _positive_int(os.environ.get(variable))
        if threads:
            return threads, f"{variable}={os.environ[variable]}"
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    if quota is not None and math.ceil(quota) < cpus:
        return max(1, math.ceil(quota)), f"the control group's CPU quota of {quota:g}"
    return cpus, f"{cpus} CPUs in this process's affinity mask"
