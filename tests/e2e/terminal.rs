//! `vmcg exec -t`: a shell in the guest on a pseudo-terminal, which script(1) makes.

use std::process::Command;

use vmcg_tests::deadline::wait_until;
use vmcg_tests::machine::Machine;
use vmcg_tests::programs::program;
use vmcg_tests::running::Running;

/// A session: what is typed, in the order of what has to be seen before it.
struct Session {
    running: Running,
}

impl Session {
    /// Starts `dash` in the guest; the terminal's settings are told before and after.
    fn start(machine: &Machine) -> Self {
        let told = |name: &str| format!("echo {name} $(stty -g)");
        let line = format!(
            "stty rows 33 cols 77; {}; {} dash; echo status $?; {}",
            told("before"),
            exec(machine),
            told("after"),
        );
        Self { running: on_a_terminal(machine, &line) }
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

/// The words of a shell's line that run a program on the guest's terminal.
fn exec(machine: &Machine) -> String {
    let exec = machine.command("exec");
    let mut words = vec![exec.get_program()];
    words.extend(exec.get_args());
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    format!("{} -t --", words.join(" "))
}

/// Runs a line of the shell on a new terminal.
fn on_a_terminal(machine: &Machine, line: &str) -> Running {
    let mut command = Command::new("/usr/bin/script");
    command.args(["--quiet", "--return", "--command", line, "/dev/null"]);
    for (name, value) in machine.command("exec").get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    Running::start(command)
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

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn keys_stop_the_output_and_let_it_go_on() {
    let machine = Machine::up();
    let mut session = Session::start(&machine);
    // Nothing is said between the key and the program, which stays for as long as nothing takes
    // what it says.
    session.running.send("echo ready; read line; /bin/echo held; echo status=$?.\r");
    session.wait_for("ready");
    session.running.send("\x13go\r");
    let stays = || machine.vmcg("ps", &[]).stdout.lines().any(|line| line.ends_with(" echo"));
    wait_until("echo waits", stays);
    session.running.send("\x11");
    session.wait_for("held");
    session.wait_for("status=0.");
    session.running.send("exit 3\r");
    assert_eq!(session.told("status "), "3");
    assert_eq!(session.running.finish().status, 0);
    machine.finish();
}

/// What `keys` says on a terminal, with what it asks for typed.
fn keys(machine: &Machine, before: &str) -> Vec<String> {
    let line = format!("exec {before} {}", program("keys").display());
    let mut running = on_a_terminal(machine, &line);
    let mut lines = Vec::new();
    while let Some(line) = running.line() {
        let line = line.trim_end_matches('\r').to_owned();
        match line.as_str() {
            "type three" => running.send("abc"),
            "type two" => running.send("xy"),
            "type one" => running.send("z"),
            _ => {}
        }
        lines.push(line);
    }
    lines
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn reads_with_a_time_limit_and_another_size_are_as_on_any_terminal() {
    let machine = Machine::up();
    let native = keys(&machine, "");
    assert_eq!(native.last().map(String::as_str), Some("end"), "{native:?}");
    assert_eq!(keys(&machine, &exec(&machine)), native);
    machine.finish();
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn a_terminal_that_is_hung_up_signals_and_ends() {
    let machine = Machine::up();
    let status = |before: &str| {
        let line = format!("exec {before} {} hangup", program("keys").display());
        on_a_terminal(&machine, &line).finish().status
    };
    let native = status("");
    assert_eq!(native, 23, "the signal came, and the end of the input");
    assert_eq!(status(&exec(&machine)), native);
    machine.finish();
}
