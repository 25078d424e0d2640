//! Plays a scenario once: a fresh machine in this process, its control files mounted, every step
//! done through them, as a user would.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use memcg::{GroupId, Pages};
use rustix::io::Errno;
use vmm::compare::{Run, Step};
use vmm::jobs::{JobSpec, Jobs, Progress};
use vmm::machine::{Machine, Readiness};

use super::course::{Board, Course, Deed};
use super::scale::Scale;
use super::scenario::Scenario;
use super::watch::{kills, look, overshoot, watch};
use crate::cli::error::Error;
use crate::cli::instance::{Instance, MountAt};
use crate::cli::options::MachineOptions;
use crate::cli::{ProgramArgs, program};

/// How long the guest may take until it runs programs.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How long nothing may happen before the steps that are left are given up.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the course is looked at.
const TICK: Duration = Duration::from_millis(5);

/// What makes one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) scale: Scale,
    /// Options of `vmcg up`, without the dashes.
    pub(super) options: &'a [(String, String)],
    /// In the order of the scenario.
    pub(super) programs: &'a [ProgramArgs],
}

/// The options as a command line.
#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    machine: MachineOptions,
}

/// A run under way, seen from the thread that does the steps.
struct Player<'a> {
    setup: Setup<'a>,
    machine: Arc<Machine>,
    jobs: Arc<Jobs>,
    mount: PathBuf,
    groups: Vec<GroupId>,
    board: Arc<Board>,
    start: Instant,
    steps: Vec<Step>,
}

/// Plays it.
///
/// # Errors
/// When an option is none, or the machine fails. That a step is refused is a result.
pub(super) fn play(setup: &Setup<'_>, label: String) -> Result<Run, Error> {
    let options = machine_options(setup)?;
    let name = format!("compare-{}", std::process::id());
    let instance = Instance::start(&name, &options, MountAt::RuntimeDirectory)?;
    let mount = instance.mount_point().map(PathBuf::from).unwrap_or_default();
    let (machine, jobs) = (Arc::clone(&instance.machine), Arc::clone(&instance.jobs));
    let player = Player {
        setup: *setup,
        machine: Arc::clone(&machine),
        jobs,
        mount,
        groups: Vec::new(),
        board: Board::new(setup.programs.len()),
        start: Instant::now(),
        steps: Vec::new(),
    };
    thread::scope(|scope| {
        let playing = scope.spawn(move || {
            let run = player.play(label);
            machine.shutdown();
            run
        });
        // The guest's failure is the better story when both have one.
        let ran = instance.run();
        let run = playing.join().unwrap_or(Err(Error::WentAway(name)));
        ran.and(run)
    })
}

fn machine_options(setup: &Setup<'_>) -> Result<MachineOptions, Error> {
    let memory = setup.scale.size(&setup.scenario.memory).unwrap_or(0);
    let options = setup.options.iter().map(|(name, value)| format!("--{name}={value}"));
    let words = ["vmcg".to_owned(), format!("--memory={memory}")].into_iter().chain(options);
    let line = Line::try_parse_from(words).map_err(|why| {
        let why = why.to_string();
        let first = why.lines().next().unwrap_or_default();
        Error::Options(first.trim_start_matches("error: ").to_owned())
    })?;
    Ok(line.machine)
}

impl Player<'_> {
    fn play(mut self, label: String) -> Result<Run, Error> {
        if self.machine.wait_ready(READY_LIMIT) != Readiness::Ready {
            return Err(Error::NotReady(READY_LIMIT.as_secs()));
        }
        self.make_groups()?;
        self.start = Instant::now();
        let is_over = AtomicBool::new(false);
        let (machine, groups, start) = (Arc::clone(&self.machine), self.groups.clone(), self.start);
        let samples = thread::scope(|scope| {
            let watching = scope.spawn(|| watch(&machine, &groups, start, &is_over));
            self.follow();
            self.add("end".into(), String::new(), None);
            is_over.store(true, Ordering::Relaxed);
            watching.join().unwrap_or_default()
        });
        let over = overshoot(&self.machine, &self.groups, &samples);
        let in_steps = self.steps.iter().flat_map(|step| &step.groups);
        let in_steps = in_steps.map(vmm::compare::GroupUsage::excess).max().unwrap_or(0);
        Ok(Run {
            label,
            overshoot: Pages::new(over.get().max(in_steps)),
            kills: kills(&self.machine, &self.groups),
            steps: self.steps,
            samples,
        })
    }

    fn make_groups(&mut self) -> Result<(), Error> {
        for group in &self.setup.scenario.groups {
            let dir = self.mount.join(&group.path);
            let failed = |path: PathBuf| move |why| Error::Unwritable { path, why };
            fs::create_dir(&dir).map_err(failed(dir.clone()))?;
            for (file, text) in &group.files {
                let file = dir.join(file);
                fs::write(&file, text).map_err(failed(file.clone()))?;
            }
            if let Some(limit) = &group.limit {
                self.set_limit(&group.path, limit).map_err(failed(dir.clone()))?;
            }
            self.groups.extend(self.find(&group.path));
        }
        Ok(())
    }

    fn find(&self, path: &str) -> Option<GroupId> {
        let mut found = None;
        self.machine.accounting(&mut |memcg| {
            let mut names = path.split('/').filter(|name| !name.is_empty());
            found = names.try_fold(memcg.root(), |group, name| memcg.lookup(group, name));
        });
        found
    }

    /// Does what is due, and notes what happens, until the end.
    fn follow(&mut self) {
        let setup = self.setup;
        let mut course = Course::new(setup.scenario);
        let mut last = Instant::now();
        let tail = Duration::from_secs_f64(setup.scenario.tail);
        while !course.is_over() || last.elapsed() < tail {
            for (program, time, progress) in self.board.take_ends() {
                self.note_end(program, time, &progress);
            }
            if let Some(deed) = course.take_due(self.start, &self.board) {
                self.perform(deed);
                last = Instant::now();
            } else if last.elapsed() > PATIENCE {
                for deed in course.give_up() {
                    self.add(self.name(deed), "not reached".into(), None);
                }
            } else {
                self.board.wait(TICK);
            }
        }
    }

    fn perform(&mut self, deed: Deed) {
        let before = self.machine.moves().len();
        let result = match deed {
            Deed::Start(program) => self.start_program(program),
            Deed::Move(one) => self.move_task(one),
            Deed::Limit(one) => {
                let limit = &self.setup.scenario.limits[one];
                in_words(self.set_limit(&limit.group, &limit.limit))
            }
        };
        let moves = self.machine.moves();
        let record = moves.last().filter(|_| matches!(deed, Deed::Move(_)) && before < moves.len());
        let moved = record
            .map(|record| [record.moved, record.failed, record.paused_us, record.longest_pause_us]);
        self.add(self.name(deed), result, moved);
    }

    fn add(&mut self, what: String, result: String, moved: Option<[u64; 4]>) {
        let groups = look(&self.machine, &self.groups);
        self.steps.push(Step { time: self.start.elapsed(), what, result, groups, moved });
    }

    fn note_end(&mut self, program: usize, time: Instant, progress: &Progress) {
        let what = format!("{} ends", self.setup.scenario.programs[program].name);
        let result = match progress {
            Progress::Ended(status) if status & 0x7f == 0 => format!("exit {}", status >> 8 & 0xff),
            Progress::Ended(status) => format!("signal {}", status & 0x7f),
            Progress::Failed { reason, .. } => reason.clone(),
            Progress::Started(_) => return,
        };
        let groups = look(&self.machine, &self.groups);
        let time = time.saturating_duration_since(self.start);
        self.steps.push(Step { time, what, result, groups, moved: None });
    }

    fn name(&self, deed: Deed) -> String {
        let scenario = self.setup.scenario;
        match deed {
            Deed::Start(program) => format!("start {}", scenario.programs[program].name),
            Deed::Limit(one) => {
                let limit = &scenario.limits[one];
                let bytes = self.setup.scale.size(&limit.limit).unwrap_or(0);
                format!("limit {} {}K", limit.group, bytes >> 10)
            }
            Deed::Move(one) => {
                let one = &scenario.moves[one];
                let who = one.program.clone().or_else(|| {
                    one.youngest_of.as_ref().map(|group| format!("youngest of {group}"))
                });
                format!("move {} to {}", who.unwrap_or_default(), one.to)
            }
        }
    }

    fn start_program(&self, index: usize) -> String {
        let group = self.find(&self.setup.scenario.programs[index].group);
        let started = || -> Result<(), Error> {
            let program = program::open(&self.setup.programs[index])?;
            let null = File::open("/dev/null").map_err(Error::system("open /dev/null"))?;
            let (from, to) = io::pipe().map_err(Error::system("make a pipe"))?;
            let error = to.try_clone().map_err(Error::system("copy a pipe"))?;
            let spec = JobSpec {
                program,
                group: group.ok_or(Error::Options("a group is gone".into()))?,
                stdio: [null.into(), to.into(), error.into()],
            };
            let board = Arc::clone(&self.board);
            self.jobs.submit(spec, move |progress| board.note(index, progress))?;
            let board = Arc::clone(&self.board);
            // Ends with the program, or with the machine.
            thread::spawn(move || board.listen(index, from));
            Ok(())
        };
        started().map_or_else(|why| why.to_string(), |()| "ok".to_owned())
    }

    fn move_task(&self, one: usize) -> String {
        let one = &self.setup.scenario.moves[one];
        let is_named = |name: &String| {
            self.setup.scenario.programs.iter().position(|program| program.name == *name)
        };
        let first = one.program.as_ref().and_then(is_named).and_then(|at| self.board.tid(at));
        let youngest = || {
            let tasks =
                fs::read_to_string(self.mount.join(one.youngest_of.as_ref()?).join("tasks"));
            tasks.ok()?.lines().last().map(str::to_owned)
        };
        match first.map(|tid| tid.get().to_string()).or_else(youngest) {
            Some(tid) => in_words(fs::write(self.mount.join(&one.to).join("tasks"), tid)),
            None => "no such task".to_owned(),
        }
    }

    fn set_limit(&self, group: &str, limit: &str) -> io::Result<()> {
        let bytes = self.setup.scale.size(limit).map_err(io::Error::other)?;
        fs::write(self.mount.join(group).join("memory.limit_in_bytes"), bytes.to_string())
    }
}

/// The word people know for the result of a write.
fn in_words(result: io::Result<()>) -> String {
    let Err(why) = result else { return "ok".to_owned() };
    match why.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOMEM) => "ENOMEM".to_owned(),
        Some(Errno::BUSY) => "EBUSY".to_owned(),
        Some(Errno::INVAL) => "EINVAL".to_owned(),
        Some(Errno::SRCH) => "ESRCH".to_owned(),
        Some(Errno::NODEV) => "ENODEV".to_owned(),
        Some(Errno::INTR) => "EINTR".to_owned(),
        _ => why.to_string(),
    }
}
