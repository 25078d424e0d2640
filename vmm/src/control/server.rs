//! The machine's side of the control socket: one thread listens, one serves each connection.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::Controlled;
use super::protocol::{Exec, Reply, Request};
use super::wire::{Wire, WireError};
use crate::jobs::{JobId, JobSpec, Program, Progress};

/// A listening control socket; dropping it ends the listening.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `path`, which must not exist.
    ///
    /// # Errors
    /// The system's, when the socket cannot be made.
    pub fn start(path: &Path, machine: Arc<dyn Controlled>) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let incoming = listener.try_clone()?;
        let thread = std::thread::Builder::new().name("control".to_owned());
        let thread = thread.spawn(move || listen(&incoming, &machine))?;
        Ok(Self { listener, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // On Linux this ends an accept that waits.
        if let Err(error) = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both) {
            log::warn!("control socket: {error}");
            return;
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::warn!("control socket: its thread failed");
        }
    }
}

fn listen(listener: &UnixListener, machine: &Arc<dyn Controlled>) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // Too many open files, most likely: the next client may have more luck.
                log::warn!("control socket: {error}");
                std::thread::sleep(std::time::Duration::from_millis(50));
                continue;
            }
        };
        let machine = Arc::clone(machine);
        let thread = std::thread::Builder::new().name("client".to_owned());
        let served = thread.spawn(move || {
            if let Err(error) = serve(&*machine, stream) {
                log::debug!("client: {error}");
            }
        });
        if let Err(error) = served {
            log::warn!("no thread for a client: {error}");
        }
    }
}

/// Serves one connection to its end.
fn serve(machine: &dyn Controlled, stream: UnixStream) -> Result<(), WireError> {
    let mut wire = Wire::new(stream);
    let request = match wire.receive() {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(()),
        Err(error) => return wire.send(&Reply::Refused(error.to_string()), &[]),
    };
    let reply = match request {
        Request::Exec(exec) => return execute(machine, wire, exec),
        Request::Signal(_) | Request::Resize(_) => {
            Reply::Refused("a signal, and no program to send it to".to_owned())
        }
        Request::Tasks => Reply::Tasks(machine.tasks()),
        Request::Groups => Reply::Groups(machine.groups()),
        Request::Dead => Reply::Dead(machine.dead()),
        Request::Moves => Reply::Moves(machine.moves()),
        Request::Ooms => Reply::Ooms(machine.ooms()),
        Request::Check => Reply::Violations(machine.check()),
        Request::Stat => {
            Reply::Figures { mount_point: machine.mount_point(), stat: Box::new(machine.stat()) }
        }
        Request::Down => {
            // First the answer: the socket may not outlive the machine by much.
            wire.send(&Reply::Ending, &[])?;
            machine.shutdown();
            return Ok(());
        }
    };
    wire.send(&reply, &[])
}

/// Runs a program and stays with its client.
fn execute(machine: &dyn Controlled, mut wire: Wire, exec: Exec) -> Result<(), WireError> {
    let is_detached = exec.is_detached;
    let id = match submit(machine, &mut wire, exec) {
        Ok(id) => id,
        Err(reason) => return wire.send(&Reply::Refused(reason), &[]),
    };
    // Until the client ends the connection, which it also does by dying.
    let end = loop {
        match wire.receive() {
            Ok(Some(Request::Signal(signal))) => machine.jobs().signal(id, signal),
            Ok(Some(Request::Resize(window))) => machine.jobs().resize(id, window),
            Ok(Some(other)) => log::debug!("job {}: unexpected {other:?}", id.get()),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if !is_detached {
        machine.jobs().hang_up(id);
    }
    end
}

fn submit(machine: &dyn Controlled, wire: &mut Wire, exec: Exec) -> Result<JobId, String> {
    let Some(group) = machine.group(&exec.group) else {
        let below = machine
            .mount_point()
            .map_or_else(|| "the hierarchy".to_owned(), |point| point.display().to_string());
        return Err(format!("no cgroup '{}' below {below}: make it with mkdir first", exec.group));
    };
    if let Some(why) = machine.obstacle(group) {
        return Err(why);
    }
    let mut file = || wire.take_file().ok_or_else(|| "a descriptor is missing".to_owned());
    let program = File::from(file()?);
    let stdio: [OwnedFd; 3] = [file()?, file()?, file()?];
    let Exec { path, cwd, argv, envp, window, .. } = exec;
    let program = Program { file: program, path, cwd, argv, envp };
    let client = wire.sender().map_err(|error| error.to_string())?;
    let observer = move |progress| report(&client, progress);
    let spec = JobSpec { program, group, stdio };
    machine.jobs().submit_in_window(spec, window, observer).map_err(|error| error.to_string())
}

/// Tells the client of a job what became of it.
fn report(client: &Wire, progress: Progress) {
    let is_last = !matches!(progress, Progress::Started(_));
    let reply = match progress {
        Progress::Started(tid) => Reply::Started { tid: tid.get() },
        Progress::Ended(wait_status) => Reply::Ended { wait_status },
        Progress::Failed { errno, reason } => Reply::Failed { errno, reason },
    };
    if let Err(error) = client.send(&reply, &[]) {
        log::debug!("a client left before its program ended: {error}");
    }
    if is_last {
        // ENOTCONN: the client was faster.
        let _ = client.stream().shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests;
