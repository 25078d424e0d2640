//! A process that a test talks to, and what it left behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::deadline::{DEADLINE, wait_until};

/// A started process; it is killed when the value is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: String,
    stderr: Option<JoinHandle<String>>,
}

/// What a process left behind. Two of them are equal when status and both outputs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Exit status as a shell shows it: 128 + n for signal n.
    pub status: i32,
    /// Everything it wrote to standard output.
    pub stdout: String,
    /// Everything it wrote to standard error.
    pub stderr: String,
}

impl Running {
    /// Starts `command` with all three streams connected to the test.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut stderr = child.stderr.take().expect("standard error is piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut bytes = Vec::new();
            // An error ends the output as the end of the stream does.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self { child, stdin, lines, seen: String::new(), stderr: Some(stderr) }
    }

    /// Process id on the host.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input; a process that has ended takes nothing.
    pub fn send(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin {
            // The process may be gone, which the test sees by what it answers.
            let _ = stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush());
        }
    }

    /// The next line of its output without the line end; `None` when the output has ended.
    ///
    /// # Panics
    /// When neither comes within the deadline.
    #[track_caller]
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => {
                self.seen.push_str(&line);
                Some(line.trim_end_matches('\n').to_owned())
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                panic!("no line within {DEADLINE:?}; so far: {:?}", self.seen)
            }
        }
    }

    /// Sends a signal to the process on the host.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the process has not been waited for");
    }

    /// Sends the rest of the input, closes it, and waits for the end.
    #[track_caller]
    #[must_use]
    pub fn finish_with(mut self, stdin: &str) -> Finished {
        self.send(stdin);
        self.finish()
    }

    /// Closes its input and waits for the end.
    ///
    /// # Panics
    /// When it does not end within the deadline.
    #[track_caller]
    #[must_use]
    pub fn finish(mut self) -> Finished {
        self.stdin = None;
        while self.line().is_some() {}
        let mut status = None;
        wait_until("the process ends", || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        let stderr = self.stderr.take().expect("finish is called once");
        Finished {
            status: status.map_or(-1, shell_status),
            stdout: std::mem::take(&mut self.seen),
            stderr: stderr.join().expect("the reader of standard error does not panic"),
        }
    }

    /// Whether it ends within `limit`; for what must not hang.
    ///
    /// # Panics
    /// When it has been waited for already.
    #[must_use]
    pub fn has_ended_within(&mut self, limit: Duration) -> bool {
        let start = std::time::Instant::now();
        while start.elapsed() < limit {
            if self.child.try_wait().expect("a child can be waited for").is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended: nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shell_status(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
