//! The server with a client of its own and a fake of the machine.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use memcg::{Abi, Config, GroupId, Hierarchy, Memcg, Offline, Policy, Tid};
use vmcg_abi::event::{Event, EventKind};

use super::*;
use crate::control::protocol::GroupRow;
use crate::jobs::Jobs;
use crate::moves::MoveRecord;
use crate::oom::OomRecord;
use crate::report::{DeadRow, Stat, TaskRow};

const DEADLINE: Duration = Duration::from_secs(10);

struct Fake {
    jobs: Arc<Jobs>,
    root: OnceLock<GroupId>,
    down: Mutex<Sender<()>>,
}

impl Controlled for Fake {
    fn mount_point(&self) -> Option<std::path::PathBuf> {
        Some("/mnt".into())
    }
    fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }
    fn group(&self, path: &str) -> Option<GroupId> {
        self.root.get().copied().filter(|_| path == "A")
    }
    fn groups(&self) -> Vec<GroupRow> {
        Vec::new()
    }
    fn tasks(&self) -> Vec<TaskRow> {
        Vec::new()
    }
    fn dead(&self) -> Vec<DeadRow> {
        Vec::new()
    }
    fn moves(&self) -> Vec<MoveRecord> {
        Vec::new()
    }
    fn ooms(&self) -> Vec<OomRecord> {
        Vec::new()
    }

    fn check(&self) -> Vec<String> {
        vec!["usage of /A is 3 and its frames are 4".to_owned()]
    }
    fn stat(&self) -> Stat {
        unreachable!("no test asks for it")
    }
    fn shutdown(&self) {
        self.down.lock().unwrap().send(()).unwrap();
    }
}

struct Setup {
    _place: tempfile::TempDir,
    _server: Server,
    path: std::path::PathBuf,
    jobs: Arc<Jobs>,
    events: Receiver<Event>,
    down: Receiver<()>,
}

fn setup() -> Setup {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("sock");
    let jobs = Arc::new(Jobs::default());
    let (sender, events) = channel();
    jobs.connect(move |event| sender.send(event).unwrap());
    let (down_sender, down) = channel();
    let config = Config {
        frames: 16,
        hierarchy: Hierarchy::Share,
        recharge: Policy::Rollback,
        offline: Offline::Reparent,
        abi: Abi::Classic,
    };
    let root = OnceLock::from(Memcg::new(config).unwrap().root());
    let fake = Fake { jobs: Arc::clone(&jobs), root, down: Mutex::new(down_sender) };
    let server = Server::start(&path, Arc::new(fake)).unwrap();
    Setup { _place: place, _server: server, path, jobs, events, down }
}

impl Setup {
    fn connect(&self) -> Wire {
        Wire::new(UnixStream::connect(&self.path).unwrap())
    }

    /// Asks to run a program with `stdout` in group `group`.
    fn execute(&self, group: &str, stdout: &File) -> Wire {
        use std::os::fd::AsFd;
        let wire = self.connect();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let exec = Exec {
            group: group.to_owned(),
            path: b"/bin/\xff".into(),
            cwd: b"/".into(),
            argv: vec![b"x".into()],
            envp: vec![],
            is_detached: false,
            window: None,
        };
        let files = [null.as_fd(), null.as_fd(), stdout.as_fd(), null.as_fd()];
        wire.send(&Request::Exec(exec), &files).unwrap();
        wire
    }

    fn event(&self) -> Event {
        self.events.recv_timeout(DEADLINE).unwrap()
    }
}

#[test]
fn a_program_runs_from_request_to_status() {
    let setup = setup();
    let mut output = tempfile::tempfile().unwrap();
    let mut wire = setup.execute("A", &output);
    assert_eq!(setup.event().kind, EventKind::Job);
    let job = setup.jobs.fetch().unwrap();
    assert_eq!(job.path, b"/bin/\xff");
    setup.jobs.started(job.id, Tid::new(2));
    assert_eq!(wire.receive().unwrap(), Some(Reply::Started { tid: 2 }));
    wire.send(&Request::Signal(15), &[]).unwrap();
    assert_eq!(setup.event(), Event { kind: EventKind::Signal, argument: 15, id: 2 });
    assert_eq!(setup.jobs.stream_write(job.id, 1, b"hello"), Ok(5));
    setup.jobs.done(job.id, 0x0300);
    assert_eq!(wire.receive().unwrap(), Some(Reply::Ended { wait_status: 0x0300 }));
    assert_eq!(wire.receive::<Reply>().unwrap(), None);
    let mut text = String::new();
    io::Seek::rewind(&mut output).unwrap();
    io::Read::read_to_string(&mut output, &mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn a_client_that_dies_takes_its_program_along() {
    let setup = setup();
    let wire = setup.execute("A", &tempfile::tempfile().unwrap());
    assert_eq!(setup.event().kind, EventKind::Job);
    let job = setup.jobs.fetch().unwrap();
    setup.jobs.started(job.id, Tid::new(7));
    drop(wire);
    assert_eq!(setup.event(), Event { kind: EventKind::Kill, argument: 9, id: 7 });
}

#[test]
fn a_group_that_does_not_exist_is_named() {
    let setup = setup();
    let mut wire = setup.execute("no/such", &tempfile::tempfile().unwrap());
    let Some(Reply::Refused(reason)) = wire.receive().unwrap() else { panic!("not refused") };
    assert!(reason.contains("'no/such'") && reason.contains("/mnt"), "{reason}");
    assert_eq!(setup.jobs.count(), 0);
}

#[test]
fn a_program_without_its_descriptors_is_refused() {
    let setup = setup();
    let mut wire = setup.connect();
    let exec = Exec {
        group: "A".to_owned(),
        path: vec![],
        cwd: vec![],
        argv: vec![],
        envp: vec![],
        is_detached: true,
        window: None,
    };
    wire.send(&Request::Exec(exec), &[]).unwrap();
    assert!(matches!(wire.receive().unwrap(), Some(Reply::Refused(_))));
}

#[test]
fn questions_are_answered_and_nonsense_is_refused() {
    let setup = setup();
    let mut wire = setup.connect();
    wire.send(&Request::Check, &[]).unwrap();
    let Some(Reply::Violations(lines)) = wire.receive().unwrap() else { panic!("no violations") };
    assert_eq!(lines.len(), 1);
    let mut wire = setup.connect();
    wire.send(&"Dance", &[]).unwrap();
    assert!(matches!(wire.receive().unwrap(), Some(Reply::Refused(_))));
    let mut wire = setup.connect();
    wire.send(&Request::Down, &[]).unwrap();
    assert_eq!(wire.receive().unwrap(), Some(Reply::Ending));
    setup.down.recv_timeout(DEADLINE).unwrap();
}
