//! Notices when the files of the config may have changed: written in place, renamed over, or a symbolic link swapped
//! on the way to them, as Kubernetes does with a ConfigMap.
//!
//! Directories are watched, not files: an editor that renames a new file over the old one leaves a watch on the file
//! with nobody at the other end. The same happens to the directories themselves, so each one on the way is watched from the
//! one above it, and told from a later one of its name.

mod directories;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use self::directories::{Directories, Event};

/// After a change that leaves a file whole (closed, renamed, removed): several of them often come together.
const SETTLED: Duration = Duration::from_millis(20);

/// After a file came: that it is whole is announced by its close, this is for what comes whole, such as a link.
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
    replaced: bool,
    /// `None` where the system cannot watch; then only a signal leads to a reload.
    events: Option<Directories>,
    /// What has changed and was not looked at.
    pending: Option<Pending>,
}

/// A change.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// When it has settled.
    settled: Instant,
    /// When it is looked at, settled or not.
    latest: Instant,
}

impl FileWatch {
    /// Starts to follow `files`. The first change is reported at once: they may have changed since they were read. To be
    /// called on a runtime.
    pub(super) fn new(files: &[PathBuf]) -> Self {
        let mut this = Self {
            names: BTreeSet::new(),
            directories: BTreeMap::new(),
            replaced: false,
            events: None,
            pending: None,
        };
        this.follow(files);
        this
    }

    /// Follows `files` from now on, by the ways that lead to them now. Where the system cannot watch, that is logged
    /// and nothing is noticed.
    pub(super) fn follow(&mut self, files: &[PathBuf]) {
        let names: BTreeSet<PathBuf> = files.iter().flat_map(|file| names_on_the_way(file)).collect();
        let directories = directories_of(&names);
        let replaced = std::mem::take(&mut self.replaced);
        if !replaced && names == self.names && directories == self.directories {
            return;
        }
        self.events = Directories::follow(directories.keys()).inspect_err(cannot_watch).ok();
        (self.names, self.directories) = (names, directories);
        // What happened before the watch began is found by looking once more.
        self.note(SETTLED);
    }

    /// Waits until something changed and has settled.
    pub(super) async fn changed(&mut self) {
        loop {
            let settled = self.pending.map(|pending| pending.settled.min(pending.latest));
            tokio::select! {
                event = next(&mut self.events) => match event {
                    Ok(event) => self.look_at(&event),
                    Err(error) => {
                        cannot_watch(&error);
                        self.events = None;
                    }
                },
                () = until(settled) => {
                    self.pending = None;
                    return;
                }
            }
        }
    }

    fn look_at(&mut self, event: &Event) {
        let (path, wait) = match event {
            Event::Lost => return self.note(SETTLED),
            Event::Came(path) => (path, HALF_WRITTEN),
            Event::Went(path) | Event::Changed(path) => (path, SETTLED),
        };
        if self.names.contains(path) {
            let came_or_went = !matches!(event, Event::Changed(_));
            self.replaced |= came_or_went && self.directories.contains_key(path);
            self.note(wait);
        }
    }

    fn note(&mut self, wait: Duration) {
        let now = Instant::now();
        let latest = self.pending.map_or(now + LONGEST_WAIT, |pending| pending.latest);
        self.pending = Some(Pending { settled: now + wait, latest });
    }
}

fn cannot_watch(error: &std::io::Error) {
    log::warn!("changes of the config file will not be noticed, send SIGHUP to reload: {error}");
}

async fn next(directories: &mut Option<Directories>) -> std::io::Result<Event> {
    match directories {
        Some(directories) => directories.next().await,
        None => pending().await,
    }
}

async fn until(settled: Option<Instant>) {
    match settled {
        Some(settled) => sleep_until(settled).await,
        None => pending().await,
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
