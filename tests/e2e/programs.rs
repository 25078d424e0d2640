//! Programs as they come: each runs in the guest as it does natively.

use std::fs;
use std::process::Command;

use vmcg_tests::machine::Machine;
use vmcg_tests::running::Running;

/// Many goroutines on several threads, a mutex, channels, timers, the collector, and a child process.
const GO: &str = r#"package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

func main() {
	runtime.GOMAXPROCS(4)
	fmt.Println("hello from", runtime.GOOS, runtime.GOARCH, os.Args[1:])
	var group sync.WaitGroup
	var lock sync.Mutex
	sum := 0
	squares := make(chan int)
	for i := 0; i < 100; i++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			runtime.LockOSThread()
			held := make([]byte, 100000)
			held[n] = byte(n)
			time.Sleep(time.Millisecond)
			lock.Lock()
			sum += int(held[n])
			lock.Unlock()
			squares <- n * n
		}(i)
	}
	go func() { group.Wait(); close(squares) }()
	total := 0
	for square := range squares {
		total += square
	}
	runtime.GC()
	fmt.Println(sum, total)
	output, err := exec.Command("/bin/echo", "from a child").Output()
	fmt.Print(string(output), err, "\n")
	select {
	case <-time.After(10 * time.Millisecond):
		fmt.Println("late")
	case <-make(chan int):
		os.Exit(3)
	}
}
"#;

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_go_program_with_a_hundred_threads_runs() {
    let machine = Machine::up();
    let group = machine.group("A");
    let source = machine.folder().join("hello.go");
    let program = machine.folder().join("hello");
    fs::write(&source, GO).expect("a file in a new folder");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(&source).env("CGO_ENABLED", "0");
    go.env("GOCACHE", machine.folder().join("cache")).env("GO111MODULE", "off");
    let built = Running::start(go).finish();
    assert_eq!(built.status, 0, "`make setup` installs go: {}", built.stderr);
    let mut native = Command::new(&program);
    native.args(["one", "two"]);
    let native = Running::start(native).finish();
    assert_eq!(native.status, 0, "{}", native.stderr);
    let guest = machine.exec_file(&group, program.as_os_str(), &["one", "two"]).finish();
    assert_eq!(guest, native);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_link_of_the_share_into_a_tree_of_the_guest_leads_there() {
    let machine = Machine::up();
    let group = machine.group("A");
    // Missing where the tests run on another machine than the one that built them.
    let target = env!("CARGO_TARGET_TMPDIR");
    fs::create_dir_all(target).expect("a target folder");
    let share = tempfile::Builder::new().prefix("share").tempdir_in(target);
    let share = share.expect("a folder in the target folder");
    std::os::unix::fs::symlink("/proc/self/cgroup", share.path().join("cgroup")).expect("a link");
    std::os::unix::fs::symlink("/tmp", share.path().join("scratch")).expect("a link");
    let script = format!(
        "cd {}; cat cgroup; echo text > scratch/made-in-the-guest; cat /tmp/made-in-the-guest; \
         ls scratch | grep made; rm scratch/made-in-the-guest",
        share.path().display()
    );
    let told = machine.exec_file(&group, "/bin/sh".as_ref(), &["-c", &script]).finish();
    assert_eq!(told.stdout, "1:memory:/A\ntext\nmade-in-the-guest\n", "{}", told.stderr);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn files_change_hands_and_keep_their_owners_in_an_archive() {
    let machine = Machine::up();
    let group = machine.group("A");
    let script = "cd /dev/shm; stat -c '%u:%g' /etc/passwd; echo text > f; ln -s f l; chmod 6755 f; \
                  chown 5:6 f; stat -c '%u:%g %a' f; chown -h 7:8 l; stat -c '%u:%g' f l; chown :9 f; \
                  tar cf t f; rm f; tar xf t; stat -c '%u:%g %a' f; chown 1 /etc/passwd; rm f l t";
    let told = machine.exec_file(&group, "/bin/sh".as_ref(), &["-c", script]).finish();
    assert_eq!(told.stdout, "0:0\n5:6 755\n5:6\n7:8\n5:9 755\n", "{}", told.stderr);
    assert!(told.stderr.contains("Read-only file system"), "{}", told.stderr);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_file_that_shows_through_keeps_its_number_when_it_is_changed() {
    let machine = Machine::up();
    let group = machine.group("A");
    let shown = tempfile::Builder::new().prefix("shown").tempdir_in("/tmp").expect("a folder");
    fs::write(shown.path().join("file"), "text\n").expect("a file");
    // Editors take a file whose number changes for one that somebody else has replaced.
    let script = "cd $0; stat -c '%d %i %Y' . file; ls -i; : >> file; stat -c '%d %i %Y' . file; ls -i; \
                  echo more >> file; cat file; rm file";
    let dir = shown.path().to_str().expect("a path of letters");
    let told = machine.exec_file(&group, "/bin/sh".as_ref(), &["-c", script, dir]).finish();
    let lines: Vec<_> = told.stdout.lines().collect();
    let [before @ .., _, _, _, _, _] = &lines[..] else { panic!("{told:?}") };
    assert_eq!((before, &lines[6..]), (&lines[3..6], &["text", "more"][..]), "{told:?}");
    assert_eq!(fs::read_to_string(shown.path().join("file")).expect("still there"), "text\n");
    machine.finish();
}

/// Programs of the distribution, with work that shows whether files, threads, pipes and memory do theirs.
const DISTRIBUTION: [(&str, &[&str]); 5] = [
    (
        "/bin/busybox",
        &[
            "sh",
            "-c",
            "for i in 3 1 2; do echo $i; done | busybox sort | busybox md5sum; echo $((6*7))",
        ],
    ),
    ("/usr/bin/python3", &["-c", PYTHON]),
    ("/usr/bin/sqlite3", &[":memory:", SQL]),
    ("/bin/gzip", &["-9", "-c", "-n", "/usr/share/common-licenses/GPL-3"]),
    ("/usr/bin/sort", &["-S", "64K", "-r", "/usr/share/common-licenses/GPL-3"]),
];

/// Threads, a temporary file, a child, and big numbers.
const PYTHON: &str = "
import hashlib, json, subprocess, tempfile, threading
with tempfile.TemporaryFile() as f:
    f.write(b'x' * 300000); f.seek(5); print(hashlib.sha256(f.read()).hexdigest())
seen = []
threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(json.dumps(sorted(seen)), 2 ** 200)
print(subprocess.run(['/bin/echo', 'child'], capture_output=True).stdout)
";

/// A table that has to be sorted and counted.
const SQL: &str = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) \
    select count(*), sum(i), max(hex(i * 7919)) from n; select sqlite_version();";

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn programs_of_the_distribution_say_what_they_say_natively() {
    let machine = Machine::up();
    let group = machine.group("A");
    for (program, args) in DISTRIBUTION {
        let mut native = Command::new(program);
        native.args(args);
        let native = Running::start(native).finish();
        assert_eq!(native.status, 0, "{program}: {}", native.stderr);
        let guest = machine.exec_file(&group, program.as_ref(), args).finish();
        assert_eq!(guest, native, "{program}");
    }
    machine.finish();
}
