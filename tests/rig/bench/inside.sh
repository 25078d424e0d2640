#!/bin/sh
# inside.sh VMCG PROGRAMS: measures, inside the rig, Linux's memory controller (cgroup v1) and vmcg with the same
# programs, in turns. Prints a line `figure WHAT linux|vmcg NANOSECONDS` for each sample.
set -eu
vmcg=$1 programs=$2
linux=/sys/fs/cgroup/memory
ours=/mnt/vmcg
policies="none rollback reserve precharge half lazy"

figure() { # WHAT SIDE NANOSECONDS
    echo "figure $*"
}

# Becomes a program in a group of either side: to be called in a subshell, whose process id the program then has.
in_linux() { # GROUP PROGRAM ARGUMENT...
    group=$1
    shift
    exec sh -c "echo \$\$ >$linux/$group/cgroup.procs; exec \"\$@\"" sh "$@"
}
in_vmcg() { # GROUP PROGRAM ARGUMENT...
    group=$1
    shift
    exec "$vmcg" exec --cgroup "$group" -- "$@"
}

measure_touch() {
    for _ in 1 2 3 4 5; do
        for side in linux vmcg; do
            figure touch $side $(($("in_$side" A "$programs/touchtime" 64) / (64 * 256)))
        done
    done
}

# What no design with these parts can do without: an exit for each page, a second thread, a request through FUSE.
measure_floors() {
    mkdir -p /mnt/answers
    "$programs/answers" /mnt/answers
    for _ in 1 2 3; do
        for how in present asked; do
            figure exit-$how vmcg "$("$programs/exits" $how 16384)"
        done
        for how in read pread; do
            figure $how-answers vmcg "$("$programs/groups" $how /mnt/answers/memory.usage_in_bytes 1000)"
        done
    done
    umount /mnt/answers
}

measure_forks() {
    for _ in 1 2 3; do
        for side in linux vmcg; do
            figure fork $side "$("in_$side" A "$programs/forks" 100)"
        done
    done
}

measure_reads() {
    for _ in 1 2 3; do
        for file in usage_in_bytes stat; do
            for how in read pread; do
                figure $how-$file linux "$("$programs/groups" $how $linux/A/memory.$file 1000)"
                figure $how-$file vmcg "$("$programs/groups" $how $ours/A/memory.$file 1000)"
            done
        done
    done
}

measure_groups() {
    for _ in 1 2; do
        for how in make remove; do
            figure $how linux "$("$programs/groups" $how $linux/A 1000)"
            figure $how vmcg "$("$programs/groups" $how $ours/A 1000)"
        done
    done
}

start_hog() { # SIDE MEBIBYTES: $holder is the process to end, $task the id to move
    mkfifo /tmp/hog
    "in_$1" A "$programs/hog" "$2M" >/tmp/hog &
    holder=$!
    exec 4</tmp/hog
    read -r _ <&4
    rm /tmp/hog
    [ "$1" = linux ] && task=$holder || task=$(cat $ours/A/tasks)
}

end_hog() {
    kill "$holder"
    wait "$holder" || true
    exec 4<&-
}

# Moves $task to B and back, so that each sample moves the same pages.
measure_moves() { # WHAT SIDE ROOT FILE MEBIBYTES
    for _ in 1 2 3 4; do
        for group in B A; do
            took=$("$programs/groups" write "$3/$group/$4" "$task")
            figure "$1" "$2" $((took / ($5 * 256)))
        done
    done
}

measure_size() { # MEBIBYTES
    start_hog linux "$1"
    measure_moves "move-$1" linux $linux cgroup.procs "$1"
    end_hog
    start_hog vmcg "$1"
    for policy in $policies; do
        echo "$policy" >$ours/A/memory.recharge_policy
        echo "$policy" >$ours/B/memory.recharge_policy
        measure_moves "move-$1-$policy" vmcg $ours tasks "$1"
    done
    end_hog
}

# Pages of 4 KiB on both sides: vmcg charges them one by one.
echo never >/sys/kernel/mm/transparent_hugepage/enabled
mkdir -p $ours $linux/A $linux/B
"$vmcg" up --detach --memory 1G --mount $ours
mkdir $ours/A $ours/B
for group in A B; do
    echo 1 >$linux/$group/memory.move_charge_at_immigrate
    echo 1G >$linux/$group/memory.limit_in_bytes
    echo 1G >$ours/$group/memory.limit_in_bytes
done
measure_reads
measure_groups
measure_touch
measure_floors
measure_forks
for size in 64 256 512; do
    measure_size $size
done
"$vmcg" check
"$vmcg" down
