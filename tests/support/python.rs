//! The Python packages of `tests/sdk/`, and programs of ours on them that are asked line by line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// The interpreter with the SDKs, which `make sdk` installs.
pub(crate) fn sdk_python() -> PathBuf {
    let installed = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sdk-venv/bin/python");
    let python = std::env::var_os("KEYGATE_SDK_PYTHON").map_or_else(installed, PathBuf::from);
    assert!(python.exists(), "the SDKs are not installed in {}: run `make sdk`", python.display());
    python
}

/// A program of `tests/sdk/` that answers each line of JSON with another; killed when this is dropped.
pub(crate) struct Python {
    child: Child,
    commands: ChildStdin,
    outcomes: BufReader<ChildStdout>,
}

impl Python {
    pub(crate) fn start(script: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(script);
        let mut command = Command::new(sdk_python());
        let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, outcomes) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, commands, outcomes: BufReader::new(outcomes) }
    }

    /// The programs have limits of their own on how long anything takes.
    pub(crate) fn ask(&mut self, command: &Value) -> Value {
        writeln!(self.commands, "{command}").unwrap();
        let mut outcome = String::new();
        self.outcomes.read_line(&mut outcome).unwrap();
        serde_json::from_str(&outcome).unwrap_or_else(|error| panic!("{command}: {error}: {outcome:?}"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
