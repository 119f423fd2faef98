//! What happens to the names in some directories, by inotify.
//!
//! Asked for is what can make a name another file, and no more: the kernel tells of every `open` and `write` in `/etc` or beside
//! a log, if one lets it, and each wakes the process.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use futures_util::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};

/// Room for as many events with the longest names as the kernel gives at a time.
const BUFFER_BYTES: usize = 4096;

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A name came: perhaps of a file that is still being written.
    Came(PathBuf),
    /// A name is another file's now, or nobody's.
    Went(PathBuf),
    /// A file was written, or may be read by others.
    Changed(PathBuf),
    /// More than could be told.
    Lost,
}

/// Follows some directories.
#[derive(Debug)]
pub(super) struct Directories {
    events: EventStream<[u8; BUFFER_BYTES]>,
    paths: HashMap<WatchDescriptor, PathBuf>,
}

impl Directories {
    /// Follows those of `paths` that are there. To be called on a runtime.
    ///
    /// # Errors
    /// The system gives no more of what that takes.
    pub(super) fn follow<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::ONLYDIR;
        let mut followed = HashMap::new();
        for path in paths {
            match inotify.watches().add(path, mask) {
                Ok(watch) => drop(followed.insert(watch, path.clone())),
                // Gone a moment later: that its name comes back is seen from the directory above.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { events: inotify.into_event_stream([0; BUFFER_BYTES])?, paths: followed })
    }

    /// Waits for what happens next.
    ///
    /// # Errors
    /// Nothing more can be learned.
    pub(super) async fn next(&mut self) -> io::Result<Event> {
        loop {
            let event = self.events.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
            if let Some(event) = told(&self.paths, event) {
                return Ok(event);
            }
        }
    }
}

fn told(paths: &HashMap<WatchDescriptor, PathBuf>, event: EventOwned) -> Option<Event> {
    if event.mask.contains(EventMask::Q_OVERFLOW) {
        return Some(Event::Lost);
    }
    // What has no name happened to the directory itself, which is seen from the one above.
    let path = paths.get(&event.wd)?.join(event.name?);
    Some(if event.mask.contains(EventMask::CREATE) {
        Event::Came(path)
    } else if event.mask.intersects(EventMask::MOVED_FROM | EventMask::MOVED_TO | EventMask::DELETE) {
        Event::Went(path)
    } else {
        Event::Changed(path)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn what_makes_a_name_another_file_is_told_and_nothing_else() {
        let top = tempfile::TempDir::new().unwrap();
        let file = top.path().join("a");
        std::fs::write(&file, "1").unwrap();
        let mut open = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
        let mut directories = Directories::follow([top.path().to_path_buf()].iter()).unwrap();
        // Reading, and writing into a file that stays open, tell nobody.
        std::fs::read(&file).unwrap();
        open.write_all(b"2").unwrap();
        std::fs::rename(&file, top.path().join("b")).unwrap();
        assert_eq!(directories.next().await.unwrap(), Event::Went(file));
        assert_eq!(directories.next().await.unwrap(), Event::Went(top.path().join("b")));
        drop(open);
        assert_eq!(directories.next().await.unwrap(), Event::Changed(top.path().join("b")));
        std::fs::create_dir(top.path().join("c")).unwrap();
        assert_eq!(directories.next().await.unwrap(), Event::Came(top.path().join("c")));
    }
}
