#!/usr/bin/env bash
# demo.sh [SCALE]: the case study that came with the 2008 patch "move usage at task move", on a running guest.
#
# Group A (limit 128M) has a task that uses 100M, group B (limit 128M) has 62M in use. Moving the task
# to B cannot work, and must change nothing. When B's program has ended, the same move takes 100M along.
# SCALE multiplies every size; 8 is the original. The second act is about huge pages, as posted in 2012.
# $COMPILED is a folder with the programs, where there is no compiler.
set -euo pipefail

scale=${1:-1}
vmcg=$(realpath "${VMCG:-target/release/vmcg}")
work=$(mktemp -d /tmp/vmcg-demo.XXXXXX)
mount=$work/cg
export XDG_RUNTIME_DIR=$work/run
mkdir "$mount" "$XDG_RUNTIME_DIR"
programs=$(dirname "$(realpath "$0")")/../guest/programs
is_up=

clean_up() {
    [ -z "$is_up" ] || "$vmcg" down >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT

fail() {
    echo "demo: $*" >&2
    exit 1
}

title() {
    printf '\n# %s\n' "$*"
}

# Prints a command as typed, and runs it.
show() {
    echo "\$ $*"
    eval "$*" || fail "that failed"
}

# Prints a command that must be refused with the given words, and what it answered.
show_refused() { # WORDS COMMAND
    local words=$1 answer
    shift
    echo "\$ $*"
    if answer=$(bash -c "$*" 2>&1); then fail "that should have been refused"; fi
    echo "${answer##*: }"
    case $answer in *"$words"*) ;; *) fail "expected '$words'" ;; esac
}

compile() { # PROGRAM
    echo "\$ gcc -static -O2 -D_GNU_SOURCE $1.c -o $1"
    if [ -n "${COMPILED:-}" ]; then
        cp "$COMPILED/$1" "$1"
    else
        gcc -static -O2 -D_GNU_SOURCE "$programs/$1.c" -o "$1"
    fi
}

number() { # FILE
    cat "$mount/$1"
}

wait_for_line() { # FILE WORDS
    local tries=0
    until grep -qs "$2" "$1"; do
        tries=$((tries + 1))
        [ $tries -lt 1200 ] || fail "$1 never said '$2'"
        sleep 0.1
    done
}

rss() { # GROUP
    awk '$1 == "rss" { print $2 }' "$mount/$1/memory.stat"
}

wait_for_end() { # GROUP
    local tries=0
    until [ -z "$(cat "$mount/$1/tasks")" ] && [ "$(rss "$1")" = 0 ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "the program in group $1 does not end"
        sleep 0.1
    done
}

[ -e /dev/kvm ] || fail "/dev/kvm is missing: vmcg needs a Linux host with KVM"

limit=$((128 * scale))M
task=$((100 * scale))M
resident=$((62 * scale))M
glutton=$((200 * scale))M
memory=$((512 * scale))M
cd "$work"
vmcg() { "$vmcg" "$@"; }

title "a program as any other, linked statically on the host"
compile hog

title "a machine with $memory, and its control files on the host"
is_up=1
show "vmcg up --memory $memory --mount $mount --detach"
show "mkdir $mount/A $mount/B"
show "echo $limit > $mount/A/memory.limit_in_bytes"
show "echo $limit > $mount/B/memory.limit_in_bytes"

title "in A a task that uses $task, in B a resident that uses $resident"
echo "\$ vmcg exec --cgroup A -- ./hog $task &"
"$vmcg" exec --cgroup A -- ./hog "$task" >a.out &
echo "\$ vmcg exec --cgroup B -- ./hog $resident &"
"$vmcg" exec --cgroup B -- ./hog "$resident" >b.out &
resident_job=$!
wait_for_line a.out holding
wait_for_line b.out holding
show "cat $mount/A/memory.usage_in_bytes $mount/B/memory.usage_in_bytes"
show "vmcg ps"
tid=$(cat "$mount/A/tasks")
before=$(number A/memory.usage_in_bytes)/$(rss B)

title "B has no room for the task, though it drops what it can of its files: the move is refused, nothing has moved"
show_refused "Cannot allocate memory" "echo $tid > $mount/B/tasks"
show "cat $mount/A/memory.usage_in_bytes $mount/B/memory.usage_in_bytes"
show "cat $mount/A/tasks"
[ "$before" = "$(number A/memory.usage_in_bytes)/$(rss B)" ] || fail "a counter changed"
[ "$tid" = "$(cat "$mount/A/tasks")" ] || fail "the task moved"

title "the resident of B ends"
show "kill $resident_job"
wait "$resident_job" || fail "the resident did not end well"
wait_for_end B
show "grep -E '^(cache|rss) ' $mount/B/memory.stat"

title "the same move: the guest is paused, its page tables are scanned, the charges follow"
moved=$(rss A)
show "echo $tid > $mount/B/tasks"
show "cat $mount/A/memory.usage_in_bytes $mount/B/memory.usage_in_bytes"
show "cat $mount/B/tasks"
[ "$(rss B)/$(rss A)" = "$moved/0" ] || fail "the task's $moved bytes should be in B, and none of them in A"
[ "$(cat "$mount/B/tasks")" = "$tid" ] || fail "the task is not in B"

title "over the limit: the program is killed, and only that one"
echo "\$ vmcg exec --cgroup A -- ./hog $glutton; echo \$?"
status=0
vmcg exec --cgroup A -- ./hog "$glutton" || status=$?
echo $status
[ $status = 137 ] || fail "expected 137"
show "cat $mount/A/memory.failcnt $mount/B/memory.failcnt"
show "cat $mount/B/tasks"

title "every invariant holds"
show "vmcg check"
show "vmcg ps"
show "vmcg down"
is_up=

title "second act: a heap of huge pages, as libhugetlbfs made it, and a limit that bites at mmap (2012)"
compile hugeheap
is_up=1
show "vmcg up --hugepages 16 --mount $mount --detach"
show "mkdir $mount/A"
show "vmcg exec --cgroup A -- ./hugeheap 24M </dev/null"
[ "$(number A/memory.hugetlb.2MB.max_usage_in_bytes)" = 29360128 ] || fail "the heap should have been huge pages"
show "echo 8M > $mount/A/memory.hugetlb.2MB.limit_in_bytes"

title "mmap says ENOMEM, the heap warns and goes on with small pages: nobody gets a signal"
show "vmcg exec --cgroup A -- ./hugeheap 24M </dev/null 2>&1 | tee heap.out"
grep -q 'using small pages' heap.out || fail "the heap should have fallen back"
grep -q '2 of huge pages' heap.out || fail "two segments should have been huge"
show "cat $mount/A/memory.hugetlb.2MB.failcnt"
[ "$(number A/memory.hugetlb.2MB.usage_in_bytes)" = 0 ] || fail "something is left charged"

title "the limit of Linux 3.6 bites at the touch instead: SIGBUS"
show "echo -1 > $mount/A/memory.hugetlb.2MB.limit_in_bytes"
show "echo 8M > $mount/A/hugetlb.2MB.limit_in_bytes"
echo "\$ vmcg exec --cgroup A -- ./hugeheap 24M; echo \$?"
status=0
vmcg exec --cgroup A -- ./hugeheap 24M </dev/null || status=$?
echo $status
[ $status = 135 ] || fail "expected 135"
show "vmcg check"
show "vmcg down"
is_up=
