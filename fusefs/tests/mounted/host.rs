//! A machine without a guest: real accounting, and address spaces that are lists of pages.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use fusefs::{Host, Listeners, MountOptions, Mounted, MoveFailure, mount};
use memcg::{
    Abi, Config, Gfn, GroupId, Guest, Gva, Hierarchy, Kind, Memcg, Move, Offline, Pages, Payer,
    Policy, Progress, Resource, ScanError, ScannedRun, Scope, Tid,
};
use tempfile::TempDir;

/// The machine.
#[derive(Debug)]
pub(crate) struct FakeHost {
    memcg: Mutex<Memcg>,
    spaces: Mutex<Spaces>,
    /// Moves and reclaim wait while this is set, as they would for a guest that is slow to pause.
    is_holding: AtomicBool,
    held: AtomicUsize,
    listeners: OnceLock<Listeners>,
}

/// Pages of every process, by process id.
#[derive(Debug, Default)]
struct Spaces(BTreeMap<Tid, Vec<Gfn>>);

impl FakeHost {
    /// Makes a machine of 64 Mi pages.
    pub(crate) fn new(abi: Abi, hierarchy: Hierarchy) -> Arc<Self> {
        let config = Config {
            frames: 1 << 16,
            hierarchy,
            recharge: Policy::Rollback,
            offline: Offline::Reparent,
            abi,
        };
        Arc::new(Self {
            memcg: Mutex::new(Memcg::new(config).unwrap()),
            spaces: Mutex::default(),
            is_holding: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            listeners: OnceLock::new(),
        })
    }

    /// Mounts it on a fresh directory.
    pub(crate) fn mount(self: &Arc<Self>) -> Mount {
        let directory = tempfile::tempdir().unwrap();
        let options = MountOptions { point: directory.path().to_owned() };
        let mounted = mount(Arc::clone(self) as Arc<dyn Host>, options).unwrap();
        self.listeners.get_or_init(|| mounted.listeners());
        Mount { mounted, _directory: directory }
    }

    /// Runs `f` on the accounting, then hands on what it crossed.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Memcg) -> R) -> R {
        let mut memcg = self.memcg.lock().unwrap();
        let result = f(&mut memcg);
        let crossings = memcg.take_crossings();
        drop(memcg);
        if let Some(listeners) = self.listeners.get() {
            listeners.crossed(&crossings);
        }
        result
    }

    /// Makes moves and reclaim wait, or lets them go on.
    pub(crate) fn hold(&self, is_holding: bool) {
        self.is_holding.store(is_holding, Ordering::SeqCst);
    }

    /// Counts what waits.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    fn wait_while_held(&self, interrupted: &dyn Fn() -> bool) {
        self.held.fetch_add(1, Ordering::SeqCst);
        while self.is_holding.load(Ordering::SeqCst) && !interrupted() {
            std::thread::yield_now();
        }
        self.held.fetch_sub(1, Ordering::SeqCst);
    }

    /// Starts a process in the group at `path` and lets it touch `pages` pages.
    pub(crate) fn start(&self, path: &str, tid: u32, pages: u64) {
        let tid = Tid::new(tid);
        let group = self.with(|memcg| group_at(memcg, path));
        self.with(|memcg| memcg.task_new(tid, tid, group)).unwrap();
        let mut spaces = self.spaces.lock().unwrap();
        let first: u64 = spaces.0.values().map(|space| space.len() as u64).sum();
        let space: Vec<Gfn> = (first..first + pages).map(Gfn::new).collect();
        for gfn in &space {
            self.with(|memcg| memcg.try_charge(Payer::Task(tid), *gfn, Kind::Anon)).unwrap();
        }
        spaces.0.insert(tid, space);
    }

    /// Ends a process and frees its pages.
    pub(crate) fn exit(&self, tid: u32) {
        let tid = Tid::new(tid);
        let space = self.spaces.lock().unwrap().0.remove(&tid).unwrap_or_default();
        self.with(|memcg| {
            memcg.uncharge_all(&space);
            memcg.task_exit(tid);
        });
    }
}

/// Finds a group by its path from the root.
pub(crate) fn group_at(memcg: &Memcg, path: &str) -> GroupId {
    let names = path.split('/').filter(|name| !name.is_empty());
    names.fold(memcg.root(), |group, name| memcg.lookup(group, name).unwrap())
}

impl Host for FakeHost {
    fn accounting(&self, f: &mut dyn FnMut(&mut Memcg)) {
        self.with(f);
    }

    fn move_task(
        &self,
        id: Tid,
        dest: GroupId,
        scope: Scope,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(), MoveFailure> {
        let mut running = self.with(|memcg| Move::begin(memcg, id, dest, scope))?;
        self.wait_while_held(interrupted);
        loop {
            if interrupted() {
                self.with(|memcg| running.abort(memcg));
                return Err(MoveFailure::Interrupted);
            }
            let mut spaces = self.spaces.lock().unwrap();
            let progress = self.with(|memcg| running.step(memcg, &mut *spaces, 16))?;
            if let Progress::Done(_) = progress {
                return Ok(());
            }
        }
    }

    /// There is always progress, and never an end: who uses the pages has them back at once.
    fn reclaim(&self, _group: GroupId, _resource: Resource, _wanted: Pages) -> Pages {
        self.wait_while_held(&|| false);
        Pages::ONE
    }

    fn removed(&self, _group: GroupId) {}
}

impl Guest for Spaces {
    fn scan(
        &mut self,
        tid: Tid,
        from: Gva,
        pages_max: u64,
        visit: &mut dyn FnMut(ScannedRun),
    ) -> Result<Option<Gva>, ScanError> {
        let space = self.0.get(&tid).ok_or(ScanError::NoSuchTask(tid))?;
        let end = (space.len() as u64).min(from.get().saturating_add(pages_max));
        for page in from.get()..end {
            let gfn = space[usize::try_from(page).unwrap()];
            let (gva, kind) = (Gva::new(page), Kind::Anon);
            let pages = Pages::ONE;
            visit(ScannedRun { gva, gfn, pages, kind, mapcount: 1, is_locked: false });
        }
        Ok((end < space.len() as u64).then_some(Gva::new(end)))
    }

    fn kill(&mut self, tid: Tid) {
        self.0.remove(&tid);
    }
}

/// A mount on a directory of its own; both go away with it.
#[derive(Debug)]
pub(crate) struct Mount {
    mounted: Mounted,
    _directory: TempDir,
}

impl Mount {
    /// Returns the path of `name` below the mount point.
    pub(crate) fn at(&self, name: &str) -> std::path::PathBuf {
        self.mounted.point().join(name)
    }

    /// Returns where the machine reports what happens.
    pub(crate) fn listeners(&self) -> Listeners {
        self.mounted.listeners()
    }

    /// Reads a file.
    pub(crate) fn read(&self, name: &str) -> std::io::Result<String> {
        std::fs::read_to_string(self.at(name))
    }

    /// Writes a file in one go.
    pub(crate) fn write(&self, name: &str, text: &str) -> std::io::Result<()> {
        use std::io::Write as _;
        std::fs::OpenOptions::new().write(true).open(self.at(name))?.write_all(text.as_bytes())
    }

    /// Makes a group.
    pub(crate) fn mkdir(&self, name: &str) -> std::io::Result<()> {
        std::fs::create_dir(self.at(name))
    }

    /// Removes a group.
    pub(crate) fn rmdir(&self, name: &str) -> std::io::Result<()> {
        std::fs::remove_dir(self.at(name))
    }
}
