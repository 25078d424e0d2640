//! A machine in this process, from the claim of its name to the last file removed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fusefs::{MountOptions, Mounted};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use vmm::control::server::Server;
use vmm::host::Host;
use vmm::jobs::Jobs;
use vmm::machine::Machine;
use vmm::runtime::{Claim, Directory};
use vmm::share::Share;
use vmm::timings::Timings;

use super::error::Error;
use super::options::MachineOptions;

/// How long output that clients have not taken may hold up the end.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Where the control files go.
#[derive(Debug)]
pub(super) enum MountAt {
    /// Nowhere.
    Nowhere,
    /// An existing directory.
    Directory(PathBuf),
    /// A directory of our own in the runtime directory.
    RuntimeDirectory,
}

/// A machine that is ready to run. What was set up is taken down in the order of the fields.
#[derive(Debug)]
pub(super) struct Instance {
    /// The machine.
    pub(super) machine: Arc<Machine>,
    /// Where its time went.
    pub(super) timings: Timings,
    /// Its jobs.
    pub(super) jobs: Arc<Jobs>,
    share: Share,
    server: Server,
    mounted: Option<Mounted>,
    claim: Claim,
}

impl Instance {
    /// Claims the name, makes the machine, mounts its control files and listens for clients.
    ///
    /// # Errors
    /// What stood in the way; nothing is left behind then.
    pub(super) fn start(
        name: &str,
        options: &MachineOptions,
        mount_at: MountAt,
    ) -> Result<Self, Error> {
        let files = Directory::open()?.files(name)?;
        let config = options.config(&files)?;
        raise_file_limit();
        let claim = files.claim()?;
        let mut share = Share::new(&options.share)
            .map_err(|why| Error::Share { path: options.share.clone(), why })?;
        config.timings.mark("name and share");
        let jobs = Arc::new(Jobs::default());
        let machine = Machine::new(&config, Arc::clone(&jobs))?;
        let host = Arc::new(Host::new(Arc::clone(&machine), Arc::clone(&jobs)));
        let mounted = match mount_at {
            MountAt::Nowhere => None,
            MountAt::Directory(point) => Some(mount(&host, point)?),
            MountAt::RuntimeDirectory => Some(mount(&host, claim.make_mount_point()?)?),
        };
        if let Some(mounted) = &mounted {
            host.set_mount_point(mounted.point().to_owned());
            machine.tell(mounted.listeners());
            share.exclude(device(mounted.point())?);
        }
        config.timings.mark("control files");
        let path = claim.files().socket();
        let server =
            Server::start(&path, host).map_err(|why| Error::Listen { path: path.clone(), why })?;
        config.timings.mark("control socket");
        Ok(Self { machine, timings: config.timings, jobs, share, server, mounted, claim })
    }

    /// Where the control files are.
    pub(super) fn mount_point(&self) -> Option<&Path> {
        self.mounted.as_ref().map(Mounted::point)
    }

    /// The machine's files.
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Runs the guest on this thread until it ends, then takes everything down.
    ///
    /// # Errors
    /// The guest's failure.
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { machine, timings, jobs, share, server, mounted, claim } = self;
        let result = machine.run(share);
        timings.mark("guest down");
        if !jobs.wait_idle(FLUSH_LIMIT) {
            log::warn!("{} clients have not taken all of their programs' output", jobs.count());
        }
        drop(server);
        drop(mounted);
        drop(claim);
        timings.mark("taken down");
        Ok(result?)
    }
}

fn mount(host: &Arc<Host>, point: PathBuf) -> Result<Mounted, Error> {
    let host: Arc<dyn fusefs::Host> = Arc::<Host>::clone(host);
    Ok(fusefs::mount(host, MountOptions { point })?)
}

fn device(point: &Path) -> Result<u64, Error> {
    std::fs::metadata(point)
        .map(|metadata| metadata.dev())
        .map_err(Error::system("look at the control files"))
}

/// Programs of the guest hold files of the host open: allow as many as this process may have.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::debug!("the limit of open files stays as it is: {error}");
    }
}
