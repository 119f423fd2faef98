//! The signals that the gateway listens to.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Handlers for SIGTERM, SIGINT, SIGHUP, SIGUSR2 and SIGQUIT. From the moment this exists none of them ends the process by itself.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
    relieved: Signal,
    reopen: Signal,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// The system refuses them.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            relieved: signal(SignalKind::quit())?,
            reopen: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for a signal to stop, and gives its name.
    pub(super) async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for a signal that asks for something: to stop, or to read the config again.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.upgrade.recv() => Asked::Upgrade,
            _ = self.relieved.recv() => Asked::Relieved,
            _ = self.reopen.recv() => Asked::ReopenLog,
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To stop, by the signal of that name.
    Stop(&'static str),
    /// To read the config again.
    Reload,
    /// To start the program anew with the sockets (as nginx has it).
    Upgrade,
    /// To drain, because another process has the sockets now.
    Relieved,
    /// To open the access log anew, because its file was moved away.
    ReopenLog,
}
