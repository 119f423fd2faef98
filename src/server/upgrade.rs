//! Zero-downtime upgrade: the program is started anew with the listening sockets, and the old process drains.
//!
//! On SIGUSR2 (as nginx has it) the running process starts the program file that it was started from, which may have
//! been replaced since, and passes its listening sockets on: the same sockets, so no connection is refused, whichever of
//! the two accepts it. Once the new process has everything that it needs, it tells the old one by SIGQUIT. If it fails
//! before that, the old one goes on as if nothing had happened.
//!
//! Not as the first process of a container: that ends with it, and the successor too.
//!
//! The sockets go by inheritance, in systemd's protocol (sd_listen_fds(3)), so there is no control socket that another
//! user could race for, and systemd's socket activation works as well.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use listenfd::ListenFd;
use rustix::process::{Pid, Signal, getppid, kill_process};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::bind::{BoundListener, Sockets};

/// Names the process whose sockets were passed on.
const PREDECESSOR: &str = "KEYGATE_PREDECESSOR";

/// What the sockets are called when they are passed on.
const GATEWAY: &str = "gateway";
const ADMIN: &str = "admin";

/// The first descriptor that sd_listen_fds(3) passes.
const FIRST_DESCRIPTOR: i32 = 3;

/// All that it takes to start the program anew.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// Found at the start: once the file has been replaced, the system no longer tells where it was.
    program: io::Result<PathBuf>,
    /// The listening sockets, once more, each with the name that it is passed on by.
    sockets: Vec<(&'static str, TcpListener)>,
    /// Those that are served for a while only: the next config may have them again.
    leaving: Vec<(&'static str, TcpListener)>,
    /// When that is over.
    left_at: Instant,
    /// Hears how the successor ended, while there is one.
    successor: Option<oneshot::Receiver<String>>,
}

impl Upgrade {
    /// Keeps what is needed for it; those that leave do so in `leave_within`.
    pub(super) fn prepare(gateway: &Sockets, admin: Option<&BoundListener>, leave_within: Duration) -> Self {
        let again = |name| move |listener: &BoundListener| Some((name, listener.socket.try_clone().ok()?));
        let sockets = gateway.staying.iter().filter_map(again(GATEWAY)).chain(admin.and_then(again(ADMIN)));
        Self {
            program: program(),
            sockets: sockets.collect(),
            leaving: gateway.leaving.iter().filter_map(again(GATEWAY)).collect(),
            left_at: Instant::now() + leave_within,
            successor: None,
        }
    }

    /// Starts the successor; what keeps it from starting is logged.
    pub(super) fn start(&mut self) {
        if self.successor.is_some() {
            log::warn!("not upgraded: a new process is starting already");
            return;
        }
        match self.start_successor() {
            Ok((pid, ended)) => {
                log::info!("upgrading: process {pid} starts");
                self.successor = Some(ended);
            }
            Err(error) => log::error!("not upgraded: {error}"),
        }
    }

    fn start_successor(&self) -> io::Result<(u32, oneshot::Receiver<String>)> {
        if std::process::id() == 1 {
            return Err(io::Error::other("this is the first process of its container, which ends with it"));
        }
        let program = self.program.as_ref().map_err(|error| io::Error::other(error.to_string()))?;
        let mut command = Command::new(program);
        command
            .args(std::env::args_os().skip(1))
            .env("LISTEN_FDS", (self.sockets.len() + self.leaving.len()).to_string())
            .env_remove("LISTEN_PID")
            .env("LISTEN_FDNAMES", self.names())
            .env(PREDECESSOR, std::process::id().to_string());
        let mappings = (FIRST_DESCRIPTOR..)
            .zip(self.passed())
            .map(|(child_fd, (_, socket))| Ok(FdMapping { parent_fd: socket.try_clone()?.into(), child_fd }));
        command.fd_mappings(mappings.collect::<io::Result<_>>()?).map_err(io::Error::other)?;
        let child = command.spawn()?;
        Ok((child.id(), watch(child)?))
    }

    fn passed(&self) -> impl Iterator<Item = &(&'static str, TcpListener)> {
        self.sockets.iter().chain(&self.leaving)
    }

    fn names(&self) -> String {
        self.passed().map(|(name, _)| *name).collect::<Vec<_>>().join(":")
    }

    /// Waits until the successor has ended although it had not taken over. What leaves is let go of meanwhile.
    pub(super) async fn failed(&mut self) -> String {
        if !self.leaving.is_empty() {
            let Self { successor, left_at, .. } = self;
            tokio::select! {
                how = ended(successor) => return how,
                () = tokio::time::sleep_until(*left_at) => self.leaving.clear(),
            }
        }
        ended(&mut self.successor).await
    }

    /// Lets go of the sockets.
    pub(super) fn close_sockets(&mut self) {
        self.sockets.clear();
        self.leaving.clear();
    }
}

/// The program file by the path that it was started by, if that is one: a link may lead to another file by the time it counts.
fn program() -> io::Result<PathBuf> {
    let file = std::env::current_exe()?;
    let named = std::env::args_os().next().map(PathBuf::from).filter(|name| name.components().count() > 1);
    let named = named.and_then(|name| std::path::absolute(name).ok());
    let is_it = |name: &PathBuf| name.canonicalize().is_ok_and(|found| found == file);
    Ok(named.filter(is_it).unwrap_or(file))
}

/// Waits for the end of the successor, if there is one, which there is no more then.
async fn ended(successor: &mut Option<oneshot::Receiver<String>>) -> String {
    let Some(receiver) = successor else { return std::future::pending().await };
    let how = receiver.await.unwrap_or_else(|_| "unknown".to_owned());
    *successor = None;
    how
}

/// Waits for the end of the successor on a thread of its own, which also spares the system a zombie.
fn watch(mut child: Child) -> io::Result<oneshot::Receiver<String>> {
    let (ended, receiver) = oneshot::channel();
    thread::Builder::new().name("successor".to_owned()).spawn(move || {
        let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        // Nobody listens once this process has drained.
        let _ = ended.send(how);
    })?;
    Ok(receiver)
}

/// The sockets that this process was started with, by systemd or by its predecessor.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// For requests.
    pub(super) gateway: Vec<TcpListener>,
    /// For the admin API: those named `admin` (systemd's `FileDescriptorName=`).
    pub(super) admin: Vec<TcpListener>,
}

/// Takes them from the environment.
pub(super) fn inherited_sockets() -> Inherited {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let (mut passed, mut inherited) = (ListenFd::from_env(), Inherited::default());
    for at in 0..passed.len() {
        let name = names.next();
        match passed.take_tcp_listener(at) {
            Ok(Some(socket)) if name == Some(ADMIN) => inherited.admin.push(socket),
            Ok(Some(socket)) => inherited.gateway.push(socket),
            Ok(None) => {}
            Err(error) => log::warn!("a descriptor that was passed on is left alone: {error}"),
        }
    }
    inherited
}

/// Tells the service manager and the predecessor, if there are any, that this process serves now.
pub(super) fn relieve_predecessor() {
    notify_service_manager();
    let named = std::env::var(PREDECESSOR).ok().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    // Only a parent can have passed sockets on; the variable alone proves nothing.
    let Some(predecessor) = named.filter(|named| getppid() == Some(*named)) else { return };
    log::info!("process {} took over from process {predecessor}", std::process::id());
    if let Err(error) = kill_process(predecessor, Signal::QUIT) {
        log::warn!("process {predecessor} could not be told to drain: {error}");
    }
}

/// Tells systemd, if it started us, that we serve, and that we are the main process now. Elsewhere it does nothing.
fn notify_service_manager() {
    let state = [sd_notify::NotifyState::Ready, sd_notify::NotifyState::MainPid(std::process::id())];
    if let Err(error) = sd_notify::notify(&state) {
        log::debug!("the service manager was not told: {error}");
    }
}
