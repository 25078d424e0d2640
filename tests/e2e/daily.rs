//! What people do at a shell all day: scripts, compiling, archives, servers; each in the guest as natively.

use std::process::Command;

use vmcg_tests::machine::Machine;
use vmcg_tests::programs::run_natively;
use vmcg_tests::running::Running;

/// Jobs, pipes to and from programs, files opened through /dev/fd, traps, and a program beside it.
const BASH: &str = r#"
set -m
sleep 0.1 & sleep 0.2 & { wait %1; echo $?; wait; echo all ended; } 2>/dev/null
trap 'echo told' USR1; kill -USR1 $$
(exit 3); echo $?
cat <(echo from a program) <(echo and another); echo to a program > >(tr a-z A-Z); wait $!
words=(one two three); echo ${#words[@]} ${words[@]:1}; read -r word <<< here; echo $word
printf '%s\n' {a..e} | xargs -n2 echo
coproc cat; echo beside >&${COPROC[1]}; read -r -u ${COPROC[0]} answer; echo $answer
mapfile -t lines < /etc/passwd; echo $((${#lines[@]} > 3))
ulimit -n 50; ulimit -n; umask 027; umask
"#;

/// Archives, searches, links, times, owners, and everything removed again.
const FILES: &str = r#"
place=$(mktemp -d) && cd $place || exit 1
mkdir -p from/deep to; for i in 1 2 3; do echo $i > from/f$i; done; ln -s f1 from/link; ln from/f2 from/deep/hard
chmod 640 from/f3; touch -d '2001-02-03 04:05:06' from/f3
tar --sort=name -cf all.tar from && tar xf all.tar -C to && diff -r from to/from && echo the same
tar tvf all.tar | awk '{print $1, $3, $6}' | sort; stat -c '%a %h %Y' to/from/f3; stat -c %h to/from/deep/hard
tar --sort=name -czf all.tgz from; tar tzf all.tgz | sort; find to -type f | sort; find to -name 'f*' -newer from/f3 | sort
cp -a from again; mv again/f1 again/g; rm again/link; rmdir again/deep 2>/dev/null || echo not empty
sed -i s/3/three/ again/f3; cat again/f3; split -b 2 again/f3 piece; cat piece*; du -s from > /dev/null && echo used
dd if=/dev/urandom bs=1M count=2 2>/dev/null | wc -c; truncate -s 100 hole; stat -c %s hole
mkfifo way; echo through > way & cat way; wait; mknod null c 1 3; echo gone > null; cat null | wc -c
cd /bin; /bin/pwd; readlink /proc/self/cwd; readlink /proc/self/exe; cd ..; /bin/pwd
cd /; rm -rf $place; test ! -e $place && echo removed
"#;

/// A program in C, linked both ways, and one of two files with a library and make.
const COMPILE: &str = r#"
place=$(mktemp -d) && cd $place || exit 1
cat > hello.c <<'C'
#include <stdio.h>
#include <math.h>
int twice(int);
int main(int argc, char **argv) { printf("%s %d %.3f\n", argv[1], twice(argc), sqrt(argc)); return 3; }
C
echo 'int twice(int n) { return 2 * n; }' > twice.c
printf 'hello: hello.o twice.o\n\tgcc $^ -lm -o $@\n%%.o: %%.c\n\tgcc -O2 -c $<\n' > Makefile
make -s -j2; ./hello made; echo $?
gcc -static -O1 hello.c twice.c -lm -o fixed && ./fixed static; echo $?
gcc -shared -fPIC twice.c -o libtwice.so && gcc hello.c -L. -ltwice -lm -Wl,-rpath,$place -o shared && ./shared shared
echo 'int main(' | gcc -x c - -o wrong 2>/dev/null; echo refused $?
rm -rf $place
"#;

/// Children, alarms, files, sorting.
const PERL: &str = r#"
open my $from, '-|', 'echo', 'hi' or die; print <$from>; close $from;
local $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select undef, undef, undef, 30;
my $child = fork; exit 7 unless $child; waitpid $child, 0; print $? >> 8, "\n";
print join(',', sort { $b <=> $a } map { $_ * 7 % 11 } 1 .. 10), "\n";
print scalar(my @found = glob '/etc/passw*') > 0, "\n"; printf "%s\n", join ' ', map { sprintf '%.3f', sin } 1 .. 3;
"#;

/// A pool of processes, a queue, a server at a Unix socket, shared memory, a database with a log.
const PYTHON: &str = r#"
import asyncio, mmap, multiprocessing, os, socket, sqlite3, tempfile
def square(n): return n * n
def serve(place):
    async def answer(reader, writer):
        writer.write((await reader.readline()).upper()); await writer.drain(); writer.close()
    async def main():
        server = await asyncio.start_unix_server(answer, place + "/socket")
        for word in ("one", "two"):
            reader, writer = await asyncio.open_unix_connection(place + "/socket")
            writer.write(word.encode() + b"\n"); print(await reader.readline()); writer.close()
        child = await asyncio.create_subprocess_exec("echo", "child", stdout=asyncio.subprocess.PIPE)
        print(await child.communicate(), child.returncode, await asyncio.gather(*[asyncio.sleep(0, n) for n in range(3)]))
        server.close()
    asyncio.run(main())
with tempfile.TemporaryDirectory() as place:
    with multiprocessing.Pool(3) as pool: print(pool.map(square, range(10)))
    queue = multiprocessing.Queue(); child = multiprocessing.Process(target=queue.put, args=(5,))
    child.start(); print(queue.get()); child.join(); print(child.exitcode)
    with multiprocessing.Manager() as manager:
        shared = manager.dict(); shared["a"] = 1; print(dict(shared))
    serve(place)
    one, other = socket.socketpair(); one.send(b"x" * 9); one.close(); print(other.recv(99), other.recv(1)); other.close()
    memory = mmap.mmap(-1, 8192); memory[:5] = b"hello"
    if os.fork() == 0: memory[0:1] = b"J"; os._exit(3)
    print(os.wait()[1], memory[:5])
    base = sqlite3.connect(place + "/base"); base.execute("pragma journal_mode=wal"); base.execute("create table t(a)")
    base.executemany("insert into t values(?)", [(n,) for n in range(500)]); base.commit()
    print(sqlite3.connect(place + "/base").execute("select count(*), sum(a) from t").fetchall(), sorted(os.listdir(place)))
"#;

const SCRIPTS: [(&str, &[&str]); 5] = [
    ("/bin/bash", &["-c", BASH]),
    ("/bin/dash", &["-c", FILES]),
    ("/bin/sh", &["-c", COMPILE]),
    ("/usr/bin/perl", &["-e", PERL]),
    ("/usr/bin/python3", &["-c", PYTHON]),
];

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn scripts_say_in_the_guest_what_they_say_natively() {
    let machine = Machine::up_with(&["--memory", "512M"]);
    let group = machine.group("A");
    for (program, args) in SCRIPTS {
        let mut native = Command::new(program);
        native.args(args);
        let native = Running::start(native).finish();
        assert_eq!((native.status, native.stderr.as_str()), (0, ""), "{program}: {native:#?}");
        let guest = machine.exec_file(&group, program.as_ref(), args).finish();
        assert_eq!(guest, native, "{program}");
    }
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_hundred_thousand_files_are_open_at_once() {
    let machine = Machine::up_with(&["--memory", "512M"]);
    let group = machine.group("A");
    let many = machine.run(&group, "manyfiles", &["100000"]);
    assert_eq!(
        many.stdout,
        "20000\n40000\n60000\n80000\n100000\n\
         100000 files, the last 100002, then EMFILE\nthe last one reads 0\na child: made\n\
         the lowest is free: 1\nall closed: 1\n",
        "{}",
        many.stderr
    );
    machine.check();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn more_open_files_than_the_kernel_has_memory_for_are_refused() {
    let machine = Machine::up_with(&["--memory", "96M"]);
    let group = machine.group("A");
    let many = machine.run(&group, "manyfiles", &["100000"]);
    assert_eq!(many.status, 0, "{many:?}");
    let is_refused =
        ["ENFILE", "ENOMEM"].map(|name| many.stdout.contains(&format!("then {name}\n")));
    assert!(is_refused.contains(&true) && many.stdout.ends_with("all closed: 1\n"), "{many:?}");
    assert_eq!(machine.run(&group, "quick", &[]).status, 0, "the guest lives on");
    machine.check();
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn vector_registers_are_kept_apart_while_two_tasks_take_turns() {
    let machine = Machine::up();
    let group = machine.group("A");
    let native = run_natively("vectors", &[], "");
    let before = switches(&machine);
    let guest = machine.run(&group, "vectors", &[]);
    let turns = switches(&machine) - before;
    assert_eq!((guest.status, &guest.stdout), (0, &native.stdout));
    // Each of the two computes for two seconds, without a system call but to read the time.
    assert!(turns > 20, "{turns} switches");
    machine.finish();
}

/// Switches between tasks since the machine came up.
fn switches(machine: &Machine) -> u64 {
    let stat = machine.vmcg("stat", &[]).stdout;
    let line = stat.lines().find(|line| line.starts_with("guest_task_switches"));
    let word = line.and_then(|line| line.split_whitespace().last());
    word.and_then(|word| word.parse().ok()).expect("stat counts switches")
}
