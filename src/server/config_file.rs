//! Puts new content into a file of the config as a whole, or not at all.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::admin::NotChanged;
use crate::policy::Digest;

/// No file of the config is larger.
const MOST_BYTES: u64 = 2 << 20;

/// A file as it was read.
pub(super) struct ConfigFile {
    path: PathBuf,
    metadata: Metadata,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl ConfigFile {
    /// Reads a file that is to be changed.
    ///
    /// # Errors
    /// It cannot be read, or is none that may be replaced.
    pub(super) fn read(path: &Path) -> Result<Self, NotChanged> {
        let failed =
            |error: io::Error| NotChanged::Failed(format!("cannot read `{}`: {error}", path.display()));
        if let Some(why) = not_replaceable(path) {
            return Err(NotChanged::NotEditable(why));
        }
        let metadata = fs::metadata(path).map_err(failed)?;
        if metadata.len() > MOST_BYTES {
            return Err(NotChanged::NotEditable(format!("`{}` is too large", path.display())));
        }
        let bytes = Zeroizing::new(fs::read(path).map_err(failed)?);
        Ok(Self { path: path.to_owned(), metadata, bytes })
    }

    /// Stands for the content.
    pub(super) fn etag(&self) -> String {
        etag(&self.bytes)
    }

    /// Puts `bytes` in place of what was read: written beside it, brought to the disk, renamed over it. Mode and owner
    /// stay.
    ///
    /// # Errors
    /// It is another by now, or the system refuses. The file is as it was.
    pub(super) fn replace(&self, bytes: &[u8]) -> Result<(), NotChanged> {
        if Zeroizing::new(fs::read(&self.path).unwrap_or_default()) != self.bytes {
            return Err(NotChanged::Stale);
        }
        self.write(bytes)
    }

    /// Puts back what was read, if it is still `written` that stands there.
    ///
    /// # Errors
    /// Somebody else wrote after us, or the system refuses.
    pub(super) fn put_back(&self, written: &[u8]) -> Result<(), NotChanged> {
        if *Zeroizing::new(fs::read(&self.path).unwrap_or_default()) != written {
            return Err(NotChanged::Stale);
        }
        self.write(&self.bytes)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), NotChanged> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.path.with_file_name(format!(".{name}.keygate-new"));
        // One that a crash left behind.
        let _ = fs::remove_file(&beside);
        let written = self.write_beside(&beside, bytes).and_then(|()| fs::rename(&beside, &self.path));
        written.map_err(|error| {
            let _ = fs::remove_file(&beside);
            let hint = if error.kind() == ErrorKind::ResourceBusy {
                "; it is mounted by itself: mount its directory"
            } else {
                ""
            };
            NotChanged::Failed(format!("cannot write `{}`: {error}{hint}", self.path.display()))
        })?;
        // The content is safe; the name is, once the directory is on the disk too.
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Err(error) = File::open(directory.unwrap_or(Path::new("."))).and_then(|open| open.sync_all()) {
            log::warn!("`{}` may be lost if the machine fails now: {error}", self.path.display());
        }
        Ok(())
    }

    fn write_beside(&self, beside: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (self.metadata.uid(), self.metadata.gid()) {
            fchown(&file, Some(self.metadata.uid()), Some(self.metadata.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(self.metadata.mode() & 0o7777))?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

/// Stands for the content of a file, as HTTP writes it (RFC 9110 §8.8.3).
pub(super) fn etag(bytes: &[u8]) -> String {
    let digest = Digest::of(bytes).to_string();
    format!("\"{}\"", digest.rsplit(':').next().unwrap_or_default())
}

/// Why a file may not be replaced.
pub(super) fn not_replaceable(path: &Path) -> Option<String> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if metadata.is_symlink() {
        return Some(format!(
            "`{}` is a symbolic link, as in a Kubernetes ConfigMap: change it where it comes from",
            path.display()
        ));
    }
    (!metadata.is_file()).then(|| format!("`{}` is no regular file", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_mode() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("keygate.yaml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let left_behind = directory.path().join(".keygate.yaml.keygate-new");
        fs::write(&left_behind, "half").unwrap();
        let file = ConfigFile::read(&path).unwrap();
        file.replace(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert!(!left_behind.exists());
        assert_eq!(file.replace(b"newer"), Err(NotChanged::Stale), "it is another than was read");
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_link_is_refused() {
        let directory = tempfile::TempDir::new().unwrap();
        let (path, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let refused = ConfigFile::read(&link).err().unwrap();
        assert!(matches!(refused, NotChanged::NotEditable(why) if why.contains("symbolic link")));
    }
}
