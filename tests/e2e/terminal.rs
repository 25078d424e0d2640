//! `vmcg exec -t`: a shell in the guest on a pseudo-terminal, which script(1) makes.

use std::process::Command;

use vmcg_tests::deadline::wait_until;
use vmcg_tests::machine::Machine;
use vmcg_tests::running::Running;

/// A session: what is typed, in the order of what has to be seen before it.
struct Session {
    running: Running,
}

impl Session {
    /// Starts `dash` in the guest; the terminal's settings are told before and after.
    fn start(machine: &Machine) -> Self {
        let exec = machine.command("exec");
        let mut words = vec![exec.get_program()];
        words.extend(exec.get_args());
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        let told = |name: &str| format!("echo {name} $(stty -g)");
        let line = format!(
            "stty rows 33 cols 77; {}; {} -t -- dash; echo status $?; {}",
            told("before"),
            words.join(" "),
            told("after"),
        );
        let mut command = Command::new("/usr/bin/script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        for (name, value) in exec.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        Self { running: Running::start(command) }
    }

    /// Reads on to the first line that ends with `end`; answers that line.
    #[track_caller]
    fn wait_for(&mut self, end: &str) -> String {
        loop {
            let line = self.running.line().unwrap_or_else(|| panic!("ended without {end:?}"));
            let line = line.trim_end_matches('\r');
            if line.ends_with(end) {
                return line.to_owned();
            }
        }
    }

    /// Reads on to the line that begins with `start`; answers the rest of it.
    #[track_caller]
    fn told(&mut self, start: &str) -> String {
        loop {
            let line = self.running.line().unwrap_or_else(|| panic!("ended without {start:?}"));
            if let Some((_, rest)) = line.split_once(start) {
                return rest.trim().to_owned();
            }
        }
    }
}

/// Waits until the shell's program runs: a key that comes before signals the shell.
fn wait_for_sleep(machine: &Machine) {
    wait_until("sleep runs", || machine.vmcg("ps", &[]).stdout.contains("sleep"));
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_shell_on_a_terminal_is_edited_interrupted_stopped_and_ended_with_keys() {
    let machine = Machine::up();
    let mut session = Session::start(&machine);
    let before = session.told("before ");
    session.running.send("stty size\r");
    session.wait_for("33 77");
    // The erase key takes back one character, the kill key the line.
    session.running.send("no\x15echo on\x7fe \x16\x03 | od -An -c\r");
    session.wait_for("e     003  \\n");
    session.running.send("sleep 1000; echo st=$?\r");
    session.wait_for("echo st=$?");
    wait_for_sleep(&machine);
    session.running.send("\x03");
    // An interactive shell leaves the whole line when the key ends a program of it.
    session.running.send("echo here; sleep 1000\r");
    session.wait_for("here");
    wait_for_sleep(&machine);
    session.running.send("\x1a");
    session.running.send("jobs; kill -9 %1; wait; echo gone\r");
    session.wait_for("sleep 1000");
    session.wait_for("gone");
    session.running.send("cat\r");
    session.running.send("a line\r");
    session.wait_for("a line");
    session.wait_for("a line");
    session.running.send("\x04");
    session.running.send("exit 7\r");
    assert_eq!(session.told("status "), "7");
    assert_eq!(session.told("after "), before, "the terminal is as it was");
    assert_eq!(session.running.finish().status, 0);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_terminal_is_asked_for_where_there_is_one() {
    let machine = Machine::up();
    let refused = machine.vmcg("exec", &["-t", "--", "/bin/true"]);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("-t"), "{}", refused.stderr);
    assert_eq!(refused.stderr.lines().count(), 1);
    machine.finish();
}
