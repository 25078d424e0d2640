"""Reads a cgroup-v1 memory hierarchy by the rules that container libraries have in common.

libraries.py DIRECTORY

Every group below DIRECTORY is read. What does not parse ends the program with a line that says so.
"""

import os
import re
import sys

COUNTERS = ["memory", "memory.memsw", "memory.kmem", "memory.kmem.tcp"]
COUNTER_FILES = ["usage_in_bytes", "max_usage_in_bytes", "failcnt", "limit_in_bytes"]
STAT_KEYS = ["cache", "rss", "mapped_file", "pgpgin", "pgpgout", "pgfault", "pgmajfault",
             "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
             "hierarchical_memory_limit", "hierarchical_memsw_limit", "total_cache", "total_rss"]


def text_of(directory, name):
    with open(os.path.join(directory, name)) as opened:
        return opened.read()


def number(directory, name):
    """One unsigned number of 64 bits; a negative one counts as 0, as some kernels say -1."""
    value = int(text_of(directory, name).strip(), 10)
    assert value < 1 << 64, f"{directory}/{name}: {value} is too large"
    return max(value, 0)


def pairs(directory, name):
    """Lines of exactly a key and a number."""
    found = {}
    for line in text_of(directory, name).splitlines():
        key, value = line.split()
        assert key not in found, f"{directory}/{name}: {key} twice"
        found[key] = int(value)
    return found


def numa(directory):
    """`key=total N0=pages ...`, where the nodes add up."""
    for line in text_of(directory, "memory.numa_stat").splitlines():
        fields = [field.split("=") for field in line.split(" ")]
        assert all(re.fullmatch("N[0-9]+", name) for name, _ in fields[1:]), line
        assert int(fields[0][1]) == sum(int(pages) for _, pages in fields[1:]), line


def group(directory):
    names = os.listdir(directory)
    for counter in COUNTERS:
        usage, peak, _, _ = (number(directory, f"{counter}.{name}") for name in COUNTER_FILES)
        assert usage >= 0 and peak >= 0
    sizes = {match[1] for match in (re.match(r"hugetlb\.(\w+)\.limit_in_bytes", n) for n in names)
             if match}
    assert "2MB" in sizes, f"{directory}: no huge pages of 2MB among {sizes}"
    for size in sizes:
        for name in COUNTER_FILES:
            number(directory, f"hugetlb.{size}.{name}")
    assert number(directory, "memory.use_hierarchy") in (0, 1)
    number(directory, "memory.soft_limit_in_bytes")
    number(directory, "memory.swappiness")
    number(directory, "memory.move_charge_at_immigrate")
    oom = pairs(directory, "memory.oom_control")
    assert oom["oom_kill_disable"] in (0, 1) and oom["under_oom"] in (0, 1) and "oom_kill" in oom
    stat = pairs(directory, "memory.stat")
    missing = [key for key in STAT_KEYS if key not in stat]
    assert not missing, f"{directory}/memory.stat has no {missing}"
    numa(directory)
    for name in ["tasks", "cgroup.procs"]:
        ids = [int(line) for line in text_of(directory, name).splitlines()]
        assert ids == sorted(set(ids)), f"{directory}/{name} is not sorted: {ids}"


def main():
    count = 0
    for directory, _, _ in os.walk(sys.argv[1]):
        group(directory)
        count += 1
    print(f"{count} groups")


main()
