//! Jobs with pipes, files and a terminal as their client, and this test as their guest.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};

use memcg::{Abi, Config, Hierarchy, Memcg, Offline, Policy};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use std::fs::File;
use std::os::fd::OwnedFd;

use super::*;

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(10);

struct Setup {
    jobs: Arc<Jobs>,
    events: Receiver<Event>,
    reports: Receiver<Progress>,
    id: JobId,
}

fn null() -> OwnedFd {
    File::options().read(true).write(true).open("/dev/null").unwrap().into()
}

fn group() -> GroupId {
    let config = Config {
        frames: 16,
        hierarchy: Hierarchy::Share,
        recharge: Policy::Rollback,
        offline: Offline::Reparent,
        abi: Abi::Classic,
    };
    Memcg::new(config).unwrap().root()
}

fn program() -> Program {
    Program {
        file: File::open("/dev/null").unwrap(),
        path: b"/bin/x".into(),
        cwd: b"/".into(),
        argv: vec![b"x".into()],
        envp: vec![],
    }
}

/// Submits a job with these streams.
fn submit(stdio: [OwnedFd; 3]) -> Setup {
    submit_in(None, stdio)
}

/// The same for streams that are a terminal.
fn submit_in(window: Option<Window>, stdio: [OwnedFd; 3]) -> Setup {
    let jobs = Arc::new(Jobs::default());
    let (sender, events) = channel();
    jobs.connect(move |event| sender.send(event).unwrap());
    let (report, reports) = channel();
    let spec = JobSpec { program: program(), group: group(), stdio };
    let id = jobs.submit_in_window(spec, window, move |p| report.send(p).unwrap()).unwrap();
    assert_eq!(events.recv_timeout(DEADLINE).unwrap().kind, EventKind::Job);
    Setup { jobs, events, reports, id }
}

impl Setup {
    /// Reads as the guest does: tries, and tries again when it is told to.
    fn read(&self, into: &mut [u8]) -> usize {
        loop {
            match self.jobs.stream_read(self.id, into) {
                Ok(count) => return count,
                Err(StreamError::WouldBlock) => self.wait_for(EventKind::Stream),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn wait_for(&self, kind: EventKind) {
        while self.events.recv_timeout(DEADLINE).unwrap().kind != kind {}
    }
}

#[test]
fn everything_written_is_with_the_client_before_the_end_is_reported() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let setup = submit([null(), writer.into(), null()]);
    assert_eq!(setup.jobs.fetch().unwrap().id, setup.id);
    setup.jobs.started(setup.id, Tid::new(2));
    assert_eq!(setup.reports.recv_timeout(DEADLINE), Ok(Progress::Started(Tid::new(2))));
    // More than the job's buffer (64 KiB) and the pipe (64 KiB) hold together; arbitrary bytes.
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        got
    });
    let mut sent = 0;
    while sent < bytes.len() {
        match setup.jobs.stream_write(setup.id, 1, &bytes[sent..]) {
            Ok(count) => sent += count,
            Err(StreamError::WouldBlock) => setup.wait_for(EventKind::Stream),
            Err(error) => panic!("{error}"),
        }
    }
    setup.jobs.done(setup.id, 7 << 8);
    assert_eq!(setup.reports.recv_timeout(DEADLINE), Ok(Progress::Ended(7 << 8)));
    assert_eq!(reading.join().unwrap(), bytes);
    assert_eq!(setup.jobs.stream_write(setup.id, 1, b"x"), Err(StreamError::NoSuchJob));
    assert!(setup.jobs.wait_idle(DEADLINE));
}

#[test]
fn input_is_left_to_others_until_the_guest_asks() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut next_program = reader.try_clone().unwrap();
    writer.write_all(b"abcdef").unwrap();
    let setup = submit([reader.into(), null(), null()]);
    let mut two = [0; 2];
    assert_eq!(setup.read(&mut two), 2);
    assert_eq!(&two, b"ab");
    setup.jobs.done(setup.id, 0);
    assert_eq!(setup.reports.recv_timeout(DEADLINE), Ok(Progress::Ended(0)));
    drop(writer);
    let mut rest = String::new();
    next_program.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "cdef");
}

#[test]
fn a_program_that_wants_input_for_ever_does_not_delay_its_end() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let setup = submit([reader.into(), null(), null()]);
    assert_eq!(setup.jobs.stream_read(setup.id, &mut [0; 9]), Err(StreamError::WouldBlock));
    setup.jobs.done(setup.id, 9);
    assert_eq!(setup.reports.recv_timeout(DEADLINE), Ok(Progress::Ended(9)));
}

#[test]
fn the_end_of_a_pipe_is_the_end_of_input() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(writer);
    let setup = submit([reader.into(), null(), null()]);
    assert_eq!(setup.read(&mut [0; 9]), 0);
    assert_eq!(setup.read(&mut [0; 9]), 0);
}

#[test]
fn a_reader_that_left_closes_the_stream() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let setup = submit([null(), writer.into(), null()]);
    assert_eq!(setup.jobs.stream_write(setup.id, 1, &[b'x'; 65536]), Ok(65536));
    // The writer that waits is told, and then learns why.
    if setup.jobs.stream_write(setup.id, 1, b"x") == Err(StreamError::WouldBlock) {
        setup.wait_for(EventKind::Stream);
    }
    assert_eq!(setup.jobs.stream_write(setup.id, 1, b"x"), Err(StreamError::Closed));
}

#[test]
fn a_terminal_goes_on_after_its_end_of_file() {
    let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&main).unwrap();
    unlockpt(&main).unwrap();
    let name = ptsname(&main, Vec::new()).unwrap();
    let terminal =
        rustix::fs::open(name, rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).unwrap();
    let small = Window { rows: 24, columns: 80 };
    let setup = submit_in(Some(small), [terminal.try_clone().unwrap(), terminal, null()]);
    assert_eq!(setup.jobs.window(setup.id), Some(small));
    let large = Window { rows: 60, ..small };
    setup.jobs.resize(setup.id, large);
    setup.wait_for(EventKind::Window);
    assert_eq!(setup.jobs.window(setup.id), Some(large));
    assert_eq!(setup.jobs.stream_kind(setup.id, 0), vmcg_abi::call::stream::TERMINAL);
    let mut main = File::from(main);
    let mut line = [0; 80];
    // Ctrl-D alone ends the input once; then a line comes through.
    main.write_all(&[4]).unwrap();
    assert_eq!(setup.read(&mut line), 0);
    main.write_all(b"hello\n").unwrap();
    assert_eq!(setup.read(&mut line), 6);
    assert_eq!(&line[..6], b"hello\n");
}

#[test]
fn kinds_of_streams_are_told_apart() {
    let (_reader, writer) = std::io::pipe().unwrap();
    let file = tempfile::tempfile().unwrap();
    let setup = submit([file.into(), writer.into(), null()]);
    let kind = |stream| setup.jobs.stream_kind(setup.id, stream);
    assert_eq!(kind(0), vmcg_abi::call::stream::FILE);
    assert_eq!(kind(1), vmcg_abi::call::stream::PIPE);
    assert_eq!(kind(9), vmcg_abi::call::stream::PIPE);
}

#[test]
fn a_signal_waits_for_the_first_task() {
    let setup = submit([null(), null(), null()]);
    setup.jobs.signal(setup.id, 2);
    setup.jobs.started(setup.id, Tid::new(5));
    let event = setup.events.recv_timeout(DEADLINE).unwrap();
    assert_eq!(event, Event { kind: EventKind::Signal, argument: 2, id: 5 });
}

#[test]
fn a_client_that_goes_away_has_its_task_killed() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let setup = submit([reader.into(), null(), null()]);
    setup.jobs.fetch().unwrap();
    setup.jobs.started(setup.id, Tid::new(5));
    assert_eq!(setup.jobs.stream_read(setup.id, &mut [0; 9]), Err(StreamError::WouldBlock));
    setup.jobs.hang_up(setup.id);
    let kinds: Vec<_> = (0..2).map(|_| setup.events.recv_timeout(DEADLINE).unwrap().kind).collect();
    assert_eq!(kinds, [EventKind::Stream, EventKind::Kill]);
    assert_eq!(setup.jobs.stream_read(setup.id, &mut [0; 9]), Ok(0));
    assert_eq!(setup.jobs.stream_write(setup.id, 2, b"x"), Err(StreamError::Closed));
}

#[test]
fn a_client_that_goes_away_early_takes_its_job_from_the_queue() {
    let setup = submit([null(), null(), null()]);
    setup.jobs.hang_up(setup.id);
    assert!(setup.jobs.wait_idle(DEADLINE));
    assert!(setup.jobs.fetch().is_none());
}

#[test]
fn a_machine_that_ends_fails_its_jobs_and_takes_no_more() {
    let setup = submit([null(), null(), null()]);
    setup.jobs.fail_all("the guest panicked");
    let report = setup.reports.recv_timeout(DEADLINE).unwrap();
    assert_eq!(report, Progress::Failed { errno: libc::EIO, reason: "the guest panicked".into() });
    let spec = JobSpec { program: program(), group: group(), stdio: [null(), null(), null()] };
    assert!(matches!(setup.jobs.submit(spec, |_| ()), Err(SubmitError::TooMany(_))));
}

#[test]
fn what_does_not_fit_the_call_buffer_is_refused() {
    let jobs = Arc::new(Jobs::default());
    let refuse = |change: &dyn Fn(&mut Program)| {
        let mut program = program();
        change(&mut program);
        let spec = JobSpec { program, group: group(), stdio: [null(), null(), null()] };
        jobs.submit(spec, |_| ()).unwrap_err()
    };
    assert!(matches!(refuse(&|p| p.argv.push(vec![b'x'; 16384])), SubmitError::TooLong { .. }));
    assert!(matches!(refuse(&|p| p.argv.clear()), SubmitError::BadString));
    assert!(matches!(refuse(&|p| p.envp.push(b"A\0B".into())), SubmitError::BadString));
    assert_eq!(jobs.count(), 0);
}
