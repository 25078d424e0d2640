# Turns lines `figure WHAT SIDE NANOSECONDS` into a table of medians and ratios in Markdown, and into rows of JSON in the
# file `json`. Exits with 1 when a figure is missing; a missed goal is told in its row.

$1 == "figure" { samples[$2, $3] = samples[$2, $3] " " $4 }

END {
    print "Median (smallest to largest sample), in one run; the ratio is that of the medians.\n"
    print "| what | Linux 6.1 | vmcg | ratio | goal | |"
    print "|---|---:|---:|---:|---:|---|"
    row("first touch of a 4 KiB page", "touch", "touch", 3)
    row("of that, at least: an exit for a page that is there", "touch", "exit-present", "")
    row("of that, at least: the same, and a thread that installs zeros", "touch", "exit-asked", "")
    size_count = split("64 256 512", sizes)
    policy_count = split("none rollback reserve precharge half lazy", policies)
    for (s = 1; s <= size_count; s++)
        for (p = 1; p <= policy_count; p++)
            row("moving " sizes[s] " MiB, a page, policy " policies[p],
                "move-" sizes[s], "move-" sizes[s] "-" policies[p], 0.05)
    row("open, read, close of memory.usage_in_bytes", "read-usage_in_bytes", "read-usage_in_bytes", 3)
    row("open, read, close of memory.stat", "read-stat", "read-stat", 3)
    row("read of an open memory.usage_in_bytes", "pread-usage_in_bytes", "pread-usage_in_bytes", 3)
    row("read of an open memory.stat", "pread-stat", "pread-stat", 3)
    row("of that, at least: open, read, close through FUSE", "read-usage_in_bytes", "read-answers", "")
    row("of that, at least: read of an open file through FUSE", "pread-usage_in_bytes", "pread-answers", "")
    row("mkdir, each of 1,000", "make", "make", "")
    row("rmdir, each of 1,000", "remove", "remove", "")
    row("fork, exit and wait", "fork", "fork", "")
    printf "{\"rows\": [\n%s\n]}\n", rows > json
    exit missing
}

function row(what, linux_key, vmcg_key, goal,    linux, vmcg, ratio, verdict) {
    linux = median(samples[linux_key, "linux"])
    vmcg = median(samples[vmcg_key, "vmcg"])
    if (linux == "" || vmcg == "") {
        print "| " what " | not measured | | | | FAIL |"
        missing = 1
        return
    }
    ratio = vmcg / (linux > 0 ? linux : 1)
    verdict = goal == "" ? "" : (ratio <= goal ? "pass" : "FAIL")
    printf "| %s | %s | %s | %.3f | %s | %s |\n", what, range(samples[linux_key, "linux"]), \
        range(samples[vmcg_key, "vmcg"]), ratio, goal, verdict
    rows = rows (rows == "" ? "" : ",\n") sprintf("  {\"name\": \"%s\", \"linux_ns\": %s, \"vmcg_ns\": %s, ", what, linux, vmcg) \
        sprintf("\"ratio\": %.4f, \"goal\": %s, \"pass\": %s}", ratio, goal == "" ? "null" : goal, \
            verdict == "" ? "null" : (verdict == "pass" ? "true" : "false"))
}

function range(list,    count) {
    count = sort(list)
    return sprintf("%s (%s to %s)", show(median(list)), show(sorted[1]), show(sorted[count]))
}

# The middle one, or the larger of the two in the middle.
function median(list,    count) {
    count = sort(list)
    return count == 0 ? "" : sorted[int(count / 2) + 1]
}

# Leaves the numbers in `sorted`, from 1 on, and answers how many there are.
function sort(list,    count, i, j, swap) {
    count = split(list, sorted, " ")
    for (i = 1; i <= count; i++)
        for (j = i + 1; j <= count; j++)
            if (sorted[j] + 0 < sorted[i] + 0) {
                swap = sorted[i]
                sorted[i] = sorted[j]
                sorted[j] = swap
            }
    return count
}

function show(ns) {
    return ns < 10000 ? ns " ns" : sprintf("%.0f us", ns / 1000)
}
