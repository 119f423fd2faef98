//! Reload: the config file becomes the policy in force, as a whole, or nothing changes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::expiry;
use super::source::{Change, ConfigSource, LoadedPolicy, Rejected};
use super::watch::FileWatch;
use crate::admin::ReloadLog;
use crate::clock;
use crate::config::Config;
use crate::limit::Ledger;
use crate::policy::{Compiled, PolicyHandle, Snapshot, Startup};
use crate::proxy::Live;
use crate::upstream::{Fleet, resolve};

/// How long new peer names may hold up a new policy, in which a key may have been revoked. A name that is not
/// resolved by then answers 503 until it is.
const LONGEST_LOOKUP: Duration = Duration::from_secs(2);

/// What led to a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// Something happened to a file, maybe nothing of meaning.
    FileEvent,
    /// Somebody asked, by a signal or through the admin API.
    Signal,
}

/// What the policy in force was made from.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) config: Config,
    /// The same for people, without secrets.
    pub(super) shown: serde_json::Value,
    /// Every file that it was read from.
    pub(super) files: Vec<PathBuf>,
    /// What the process was started with, which no reload changes.
    pub(super) startup: Startup,
}

/// Follows the config.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) source: ConfigSource,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) live: Arc<PolicyHandle<Live>>,
    resolve_now: Arc<Notify>,
    watch: FileWatch,
    pub(super) in_force: InForce,
    /// Why the last one was not taken, so that it is not said at every stir of the file.
    rejected: Option<Rejected>,
    /// What came of it, for the admin API.
    pub(super) log: Arc<ReloadLog>,
}

impl Reloader {
    /// Follows `source`, from which `in_force` was read. `resolve_now` is told about new peers.
    pub(super) fn new(
        source: ConfigSource,
        listen: Vec<SocketAddr>,
        in_force: InForce,
        live: Arc<PolicyHandle<Live>>,
        resolve_now: Arc<Notify>,
        log: Arc<ReloadLog>,
    ) -> Self {
        let watch = FileWatch::new(&in_force.files);
        Self { source, listen, in_force, live, resolve_now, watch, rejected: None, log }
    }

    /// Waits until something happened to a file of the config.
    pub(super) async fn file_event(&mut self) {
        self.watch.changed().await;
    }

    /// Reads the config again and puts it in force if it can be used.
    pub(super) async fn reload(&mut self, trigger: Trigger) {
        self.read_again(trigger).await;
        // A link on the way to a file may lead elsewhere now, and a directory may be another.
        self.watch.follow(&self.in_force.files);
    }

    async fn read_again(&mut self, trigger: Trigger) {
        if self.source.file().is_none() {
            log::info!("there is no config file to reload");
            return;
        }
        let generation = self.live.load().policy.generation + 1;
        let InForce { config, startup, .. } = &self.in_force;
        let change = if trigger == Trigger::Signal {
            self.source.load(&self.listen, generation, Some(startup)).map(Box::new).map(Change::To)
        } else {
            self.source.load_change(config, &self.listen, generation, startup)
        };
        match change {
            Ok(change) => {
                if self.rejected.take().is_some() {
                    self.log.restored(clock::now());
                }
                match change {
                    Change::None(files) => self.in_force.files = files,
                    Change::To(loaded) => {
                        self.in_force.files.clone_from(&loaded.files);
                        self.put_in_force(*loaded).await;
                    }
                }
            }
            Err(rejected) => self.keep(rejected, trigger),
        }
    }

    async fn put_in_force(&mut self, loaded: LoadedPolicy) {
        let Compiled { mut snapshot, startup, .. } = loaded.compiled;
        super::log_warnings(&loaded.warnings);
        let restart = self.in_force.startup.differences(&startup);
        for fields in &restart {
            log::warn!("{fields} changed in the file; that takes effect with a restart");
        }
        let before = self.live.load();
        snapshot.retired = before.policy.retired.after(&before.policy.keys, &snapshot.keys, clock::now());
        keep_certificates(&mut snapshot, &before.policy);
        let fleet = Fleet::new(&snapshot, Some(&before.fleet));
        if fleet.peers().any(|peer| peer.addresses().is_empty()) {
            // In time or not: the background task goes on with what is left.
            let _ = tokio::time::timeout(LONGEST_LOOKUP, resolve::refresh(&fleet)).await;
        }
        let (generation, mode, keys) = (snapshot.generation, snapshot.mode, snapshot.keys.len());
        let limits = Ledger::new(&snapshot, Some((&before.policy, &before.limits)), clock::ticks());
        let meters = self.live.load().meters.next(&snapshot);
        self.live.replace(Arc::new(Live { policy: snapshot, fleet, limits, meters }));
        (self.in_force.config, self.in_force.shown) = (loaded.config, loaded.shown);
        self.log.accepted(clock::now(), generation, loaded.warnings, restart);
        self.resolve_now.notify_one();
        expiry::warn(&self.live.load(), clock::now());
        log::info!("reloaded: generation {generation}, effective mode {mode}, {keys} keys");
    }

    /// Nothing changes, and the log says why.
    fn keep(&mut self, rejected: Rejected, trigger: Trigger) {
        if trigger == Trigger::FileEvent && self.rejected.as_ref() == Some(&rejected) {
            return;
        }
        for problem in &rejected.problems {
            log::error!("{problem}");
        }
        let generation = self.live.load().policy.generation;
        log::error!("not reloaded: generation {generation} stays in force");
        self.log.rejected(clock::now(), rejected.problems.clone());
        self.rejected = Some(rejected);
    }
}

/// A listener with TLS goes on with what it has where the file has no TLS any more: that takes effect with a restart.
fn keep_certificates(next: &mut Snapshot, before: &Snapshot) {
    if next.certificates.is_empty() {
        next.certificates.clone_from(&before.certificates);
    }
    if next.admin_certificates.is_empty() {
        next.admin_certificates.clone_from(&before.admin_certificates);
    }
}
