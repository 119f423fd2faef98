//! Fills secrets in from where they stand: the environment, a file of their own.

use std::borrow::Cow;
use std::fs::Metadata;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::tls::certificate_files;
use super::{Config, Env, PemFile, SecretOrigin, SecretRef, open};
use crate::problem::{FieldPath, Problem};
use crate::secret::Secret;

/// What a file is read as.
struct Expected {
    /// A longer one was not meant.
    most_bytes: u64,
    /// What to do about one that is too long, or no file.
    alone: &'static str,
    /// What to do about one that is no text.
    text: &'static str,
}

/// No key or token is longer.
const SECRET: Expected = Expected {
    most_bytes: 64 * 1024,
    alone: "name a file that holds the secret alone",
    text: "a secret is text",
};

/// The bundle of all public authorities has about 220 KiB.
const PEM: Expected = Expected {
    most_bytes: 1024 * 1024,
    alone: "name a PEM file",
    text: "write it as PEM: `openssl x509 -inform der -in FILE` does it for a certificate",
};

/// Who can read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Its owner and perhaps its group.
    Some,
    /// Every user of the machine.
    Everyone,
}

impl Readers {
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode();
        // A pipe (`-c <(…)`) says nothing about who could read what went into it.
        if metadata.is_file() && mode & 0o004 != 0 { Self::Everyone } else { Self::Some }
    }
}

/// Why a secret could not be filled in.
#[derive(Debug)]
pub(super) struct Failed {
    message: String,
    help: Cow<'static, str>,
}

impl Failed {
    pub(super) fn problem(self, path: FieldPath) -> Problem {
        Problem::error(path, self.message).with_help(self.help)
    }
}

impl Config {
    /// All secrets of a config, each with its place. The one list of them.
    pub(super) fn secrets(&mut self) -> Vec<(FieldPath, &mut SecretRef)> {
        let api_key = FieldPath::root().field("proxy").field("api_key");
        let admin_token = FieldPath::root().field("admin").field("token");
        let api_key = self.proxy.api_key.iter_mut().map(|secret| (api_key.clone(), secret));
        let admin_token = self.admin.token.iter_mut().map(|secret| (admin_token.clone(), secret));
        let keys = FieldPath::root().field("keys");
        let keys = self
            .keys
            .iter_mut()
            .enumerate()
            .filter_map(|(at, key)| key.key.as_mut().map(|secret| (keys.index(at).field("key"), secret)));
        let upstreams = FieldPath::root().field("upstreams");
        let credentials = self.upstreams.iter_mut().filter_map(move |(name, upstream)| {
            let path = upstreams.field(name.as_str()).field("credential").field("value");
            upstream.credential.as_mut().map(|credential| (path, &mut credential.value))
        });
        api_key.chain(admin_token).chain(keys).chain(credentials).collect()
    }
}

impl Config {
    /// All certificates and keys that are files, each with its place. The one list of them.
    pub(super) fn pem_files(&mut self) -> Vec<(FieldPath, &mut PemFile)> {
        let path = FieldPath::root().field("proxy").field("tls");
        let upstreams = FieldPath::root().field("upstreams");
        let upstreams = self
            .upstreams
            .iter_mut()
            .flat_map(|(name, upstream)| upstream.pem_files(&upstreams.field(name.as_str())));
        let admin_path = FieldPath::root().field("admin").field("tls");
        let admin = self.admin.tls.iter_mut();
        let admin = admin.flat_map(|tls| certificate_files(&mut tls.certificates, &admin_path));
        self.proxy.tls.iter_mut().flat_map(|tls| tls.files(&path)).chain(admin).chain(upstreams).collect()
    }
}

/// Reads a file of certificates or a private key.
pub(super) fn fill_pem(file: &mut PemFile, directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failed> {
    let path = directory.join(&file.path);
    files.push(path.clone());
    let (content, _) = read(&path, &PEM)?;
    file.content = content;
    Ok(())
}

/// Fills in one secret and says who can read the file that it has for itself.
pub(super) fn fill(
    secret: &mut SecretRef,
    directory: &Path,
    env: Env<'_>,
    files: &mut Vec<PathBuf>,
) -> Result<Readers, Failed> {
    match &secret.origin {
        SecretOrigin::Literal => {}
        SecretOrigin::Env(name) => {
            secret.value = Secret::new(env(name).ok_or_else(|| Failed {
                message: format!("the environment variable `{name}` is not set"),
                help: format!("set it where keygate is started; to try a file out, any text will do: `{name}=any keygate check`")
                    .into(),
            })?);
        }
        SecretOrigin::File(path) => {
            let path = directory.join(path);
            files.push(path.clone());
            let (value, readers) = read(&path, &SECRET)?;
            secret.value = value;
            return Ok(readers);
        }
    }
    Ok(Readers::Some)
}

fn read(path: &Path, expected: &Expected) -> Result<(Secret, Readers), Failed> {
    let shown = path.display();
    let failed = |message, help: &'static str| Failed { message, help: help.into() };
    let unreadable = |error: std::io::Error| Failed {
        message: format!("cannot read `{shown}`: {error}"),
        help: "a path without `/` in front is relative to the directory of the config file".into(),
    };
    let Some((file, metadata)) = open::regular(path).map_err(unreadable)? else {
        return Err(failed(format!("`{shown}` is no regular file"), expected.alone));
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(expected.most_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > expected.most_bytes {
        let message = format!("`{shown}` is larger than {} KiB", expected.most_bytes / 1024);
        return Err(failed(message, expected.alone));
    }
    let text =
        std::str::from_utf8(&bytes).map_err(|_| failed(format!("`{shown}` is not UTF-8"), expected.text))?;
    Ok((Secret::new(without_line_break(text).to_owned()), Readers::of(&metadata)))
}

/// Editors and `echo` end a file with a line break that is no part of the secret. One, no more.
fn without_line_break(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

/// Whether there is a secret in the config file itself.
pub(super) fn is_literal(secret: &SecretRef) -> bool {
    secret.origin == SecretOrigin::Literal && !secret.value.is_empty()
}

/// The warning that every user of the machine can read this secret.
pub(super) fn exposed(path: FieldPath, secret: &SecretRef, config_file: &Path) -> Problem {
    let file = match &secret.origin {
        SecretOrigin::File(path) => config_file.parent().unwrap_or(Path::new("")).join(path),
        SecretOrigin::Literal | SecretOrigin::Env(_) => config_file.to_owned(),
    };
    let file = file.display();
    let message = format!("every user of this machine can read `{file}`, which holds this secret");
    Problem::warning(path, message).with_help(format!("chmod 600 {file}"))
}
