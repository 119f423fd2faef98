//! Notices when the files of the config may have changed: written in place, renamed over, or a symbolic link swapped
//! on the way to them, as Kubernetes does with a ConfigMap.
//!
//! Directories are watched, not files: an editor that renames a new file over the old one leaves a watch on the file
//! with nobody at the other end. The same happens to the directories themselves, so each one on the way is watched from the
//! one above it, and told from a later one of its name.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

/// After a change that leaves a file whole (closed, renamed, removed): several of them often come together.
const SETTLED: Duration = Duration::from_millis(20);

/// After a write into a file that is still open: its end is announced by the close, this is for the case that it is not.
const HALF_WRITTEN: Duration = Duration::from_millis(500);

/// However often something changes, it is looked at this often.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Steps on the way to a file; a longer way is a loop of links (Linux gives up after 40).
const MOST_LINKS: usize = 40;

/// Follows a set of files.
#[derive(Debug)]
pub(super) struct FileWatch {
    /// Every name whose change matters.
    names: BTreeSet<PathBuf>,
    /// The directories that they stand in, as they were when the watch on them began.
    directories: BTreeMap<PathBuf, Identity>,
    /// Whether one of them went or came since: another one may even have the same inode.
    replaced: Arc<AtomicBool>,
    /// `None` where the system cannot watch; then only a signal leads to a reload.
    watcher: Option<RecommendedWatcher>,
    /// Pending changes, each as how long to wait for more.
    changes: (Sender<Duration>, Receiver<Duration>),
}

impl FileWatch {
    /// Starts to follow `files`. The first change is reported at once: they may have changed since they were read.
    pub(super) fn new(files: &[PathBuf]) -> Self {
        // More than a few pending changes say the same as one.
        let mut this = Self {
            names: BTreeSet::new(),
            directories: BTreeMap::new(),
            replaced: Arc::default(),
            watcher: None,
            changes: channel(64),
        };
        this.follow(files);
        this
    }

    /// Follows `files` from now on, by the ways that lead to them now. Where the system cannot watch, that is logged
    /// and nothing is noticed.
    pub(super) fn follow(&mut self, files: &[PathBuf]) {
        let names: BTreeSet<PathBuf> = files.iter().flat_map(|file| names_on_the_way(file)).collect();
        let directories = directories_of(&names);
        let replaced = self.replaced.swap(false, Ordering::AcqRel);
        if !replaced && names == self.names && directories == self.directories {
            return;
        }
        self.watcher = watch(names.clone(), &directories, Arc::clone(&self.replaced), self.changes.0.clone())
            .inspect_err(|error| {
                log::warn!("changes of the config file will not be noticed, send SIGHUP to reload: {error}");
            })
            .ok();
        (self.names, self.directories) = (names, directories);
        // What happened before the watch began is found by looking once more.
        let _ = self.changes.0.try_send(SETTLED);
    }

    /// Waits until something changed and has settled.
    pub(super) async fn changed(&mut self) {
        let Some(mut wait) = self.changes.1.recv().await else {
            return std::future::pending().await;
        };
        let latest = Instant::now() + LONGEST_WAIT;
        loop {
            let settled = (Instant::now() + wait).min(latest);
            match timeout_at(settled, self.changes.1.recv()).await {
                Ok(Some(next)) => wait = next,
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// What tells a directory from another one that has its name later: device and inode.
type Identity = (u64, u64);

/// Those that are there now.
fn directories_of(names: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Identity> {
    let parents: BTreeSet<&Path> = names.iter().filter_map(|path| path.parent()).collect();
    let there = parents.into_iter().filter_map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((path.to_path_buf(), (metadata.dev(), metadata.ino())))
    });
    there.collect()
}

fn watch(
    names: BTreeSet<PathBuf>,
    directories: &BTreeMap<PathBuf, Identity>,
    replaced: Arc<AtomicBool>,
    changes: Sender<Duration>,
) -> notify::Result<RecommendedWatcher> {
    let watched: BTreeSet<PathBuf> = directories.keys().cloned().collect();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let wait = match event {
            Ok(event) if event.need_rescan() => Some(SETTLED),
            Ok(event) if event.paths.iter().any(|path| names.contains(path)) => {
                let came_or_went = EventKind::is_create(&event.kind)
                    || EventKind::is_remove(&event.kind)
                    || matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
                if came_or_went && event.paths.iter().any(|path| watched.contains(path)) {
                    replaced.store(true, Ordering::Release);
                }
                wait_after(event.kind)
            }
            Ok(_) => None,
            Err(error) => {
                log::warn!("watching the config file: {error}");
                Some(SETTLED)
            }
        };
        if let Some(wait) = wait {
            // Full means that a look is due anyway.
            let _ = changes.try_send(wait);
        }
    })?;
    for directory in directories.keys() {
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            // Gone a moment later: that its name comes back is seen from the directory above.
            Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => {}
            other => other?,
        }
    }
    Ok(watcher)
}

/// `None` for what changes nothing, such as our own reading.
fn wait_after(kind: EventKind) -> Option<Duration> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(SETTLED),
        EventKind::Access(_) => None,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => Some(HALF_WRITTEN),
        _ => Some(SETTLED),
    }
}

/// Every name whose change can make `file` another: the file itself, each symbolic link and each directory on the way to
/// it.
fn names_on_the_way(file: &Path) -> BTreeSet<PathBuf> {
    let mut names = BTreeSet::new();
    let mut walked = PathBuf::new();
    let Ok(absolute) = std::path::absolute(file) else { return names };
    let mut ahead: Vec<PathBuf> = steps(&absolute);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step.as_os_str() == ".." {
            walked.pop();
            continue;
        }
        let here = walked.join(step);
        match std::fs::read_link(&here) {
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                names.insert(here);
                if target.is_absolute() {
                    walked = PathBuf::new();
                }
                ahead.extend(steps(&target));
            }
            _ => {
                if here.parent().is_some() {
                    names.insert(here.clone());
                }
                walked = here;
            }
        }
    }
    names
}

/// The components of a path, last one first, as a stack.
fn steps(path: &Path) -> Vec<PathBuf> {
    let significant = path.components().filter(|component| *component != Component::CurDir);
    significant.map(|component| PathBuf::from(component.as_os_str())).rev().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_config_map_is_followed_through_its_links() {
        let top = std::env::temp_dir().join(format!("keygate-watch-{}", std::process::id()));
        std::fs::create_dir_all(top.join("..2026_01")).unwrap();
        let top = top.canonicalize().unwrap();
        std::fs::write(top.join("..2026_01/keygate.yaml"), "").unwrap();
        symlink("..2026_01", top.join("..data")).unwrap();
        symlink("..data/keygate.yaml", top.join("keygate.yaml")).unwrap();
        let names = names_on_the_way(&top.join("keygate.yaml"));
        let expected = ["..2026_01/keygate.yaml", "..2026_01", "..data", "keygate.yaml"];
        let mut expected: BTreeSet<PathBuf> = expected.iter().map(|name| top.join(name)).collect();
        expected.extend(top.ancestors().filter(|path| path.parent().is_some()).map(Path::to_path_buf));
        assert_eq!(names, expected);
        std::fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn a_loop_of_links_comes_to_an_end() {
        let top = std::env::temp_dir().join(format!("keygate-loop-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        symlink("b", top.join("a")).unwrap();
        symlink("a", top.join("b")).unwrap();
        assert!(names_on_the_way(&top.join("a")).contains(&top.join("b")));
        std::fs::remove_dir_all(top).unwrap();
    }
}
