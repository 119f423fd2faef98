//! Opens the files that a config is read from, without waiting for whoever is at the other end of one.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file; `None` where there is something else: a pipe or a device could block for ever.
///
/// # Errors
/// The system's, if it cannot be opened.
pub(super) fn regular(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    if !std::fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    // It may be another one by now.
    let file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata)))
}

/// Opens a regular file, or a pipe that this process was given as `/dev/stdin` or as `<(…)`; `None` where there is
/// something else.
///
/// # Errors
/// The system's, if it cannot be opened.
pub(super) fn regular_or_given(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    const GIVEN: [&str; 3] = ["/dev/stdin", "/dev/fd/", "/proc/self/fd/"];
    let given = path.to_str().is_some_and(|path| GIVEN.iter().any(|place| path.starts_with(place)));
    if !given {
        return regular(path);
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    Ok((!metadata.is_dir()).then_some((file, metadata)))
}
