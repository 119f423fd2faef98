//! The real binary: started on ports that the kernel gives, its log read, killed at the end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::{Client, Origin, PATIENCE, wait_for};

/// The key of the configs that [`config`] writes.
pub(crate) const KEY: &str = "sk-0123456789abcdef0123456789abcdef";

/// A config in `mode` with [`KEY`], everything routed to `origin`.
pub(crate) fn config(mode: &str, origin: &Origin) -> String {
    format!(
        "proxy:\n  listen: ['127.0.0.1:0']\n  auth_mode: {mode}\n  api_key: {KEY}\n\
         upstreams:\n  origin:\n    peers: ['{}']\n\
         routes:\n  - path_prefix: /\n    upstream: origin\n\
         admin: {{enabled: false}}\n",
        origin.address
    )
}

/// The config with its admin listener switched off unless it has one of its own: all of them would want the same port.
fn without_admin(config: &str) -> String {
    if config.contains("admin:") {
        config.to_owned()
    } else {
        format!("{}\nadmin: {{enabled: false}}\n", config.trim_end())
    }
}

/// A command of the program, with nothing of the caller's environment that could change what it does.
pub(crate) fn keygate<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keygate"));
    command.args(arguments).env_remove("RUST_LOG").env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    command
}

/// Nothing that SDKs read in the environment of whoever runs the tests may take the place of what a test gives.
pub(crate) fn without_sdk_variables(command: &mut Command) {
    for name in [
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_CUSTOM_HEADERS",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_CUSTOM_HEADERS",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
}

/// A gateway that runs.
pub(crate) struct Gateway {
    program: Program,
    /// Where it listens, first address first.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) directory: TempDir,
}

impl Gateway {
    /// Starts `keygate run -c` with this config and waits until it listens.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, |_| {})
    }

    /// The same, with a change to the command before it runs.
    pub(crate) fn start_with(config: &str, change: impl FnOnce(&mut Command)) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("keygate.yaml");
        std::fs::write(&file, config).unwrap();
        let mut command = keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]);
        command.current_dir(directory.path());
        change(&mut command);
        Self::run(command, directory)
    }

    /// Runs `command` and waits until it listens.
    pub(crate) fn run(command: Command, directory: TempDir) -> Self {
        let file = directory.path().join("keygate.yaml");
        if let Ok(config) = std::fs::read_to_string(&file) {
            std::fs::write(&file, without_admin(&config)).unwrap();
        }
        let program = Program::start(command);
        let line = program.wait_for_log("its listeners", |line| line.contains("listening on http"));
        let (_, urls) = line.split_once("listening on ").unwrap();
        let addresses =
            urls.split(", ").map(|url| url.split_once("://").unwrap().1.parse().unwrap()).collect();
        Self { program, addresses, directory }
    }

    /// Starts it once more with the file that the last one left, which has ended.
    pub(crate) fn start_again(self) -> Self {
        let Self { directory, .. } = self;
        let file = directory.path().join("keygate.yaml");
        Self::run(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]), directory)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where the admin API listens, in a config that has it.
    pub(crate) fn admin(&self) -> SocketAddr {
        const BEFORE: &str = "admin API on http";
        let line = self.program.wait_for_log("the admin listener", |line| line.contains(BEFORE));
        let (_, url) = line.split_once(BEFORE).unwrap();
        url.split_once("://").unwrap().1.parse().unwrap()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn exchange(&self, request: impl AsRef<[u8]>) -> super::Response {
        self.connect().exchange(request)
    }

    /// The config file.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("keygate.yaml")
    }

    /// Puts a new config in place, by rename.
    pub(crate) fn replace_config(&self, config: &str) {
        replace(&self.file(), &without_admin(config));
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Sends a signal: `TERM`, `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        self.program.signal(name);
    }

    /// Waits until generation `number` is in force.
    pub(crate) fn wait_for_generation(&self, number: u64) {
        let text = format!("reloaded: generation {number},");
        self.program.wait_for_log("a reload", |line| line.contains(&text));
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.program.wait()
    }
}

/// Writes beside the file and renames, as editors do.
pub(crate) fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, file).unwrap();
}

/// A process whose standard error is read; killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    stdout: Arc<Mutex<Vec<String>>>,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = collect_lines(child.stderr.take().unwrap());
        let stdout = collect_lines(child.stdout.take().unwrap());
        Self { child, log, stdout }
    }

    /// Waits until the log satisfies `found`.
    pub(crate) fn wait_for<T>(&self, what: &str, found: impl Fn(&[String]) -> Option<T>) -> T {
        let log = Arc::clone(&self.log);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, || found(&log.lock().unwrap()))
        }));
        outcome.unwrap_or_else(|_| panic!("{what}: not in\n{}", self.log().join("\n")))
    }

    /// Waits for a line of the log.
    pub(crate) fn wait_for_log(&self, what: &str, found: impl Fn(&str) -> bool) -> String {
        self.wait_for(what, |log| log.iter().find(|line| found(line)).cloned())
    }

    /// Waits for a line on standard output.
    pub(crate) fn wait_for_stdout(&self, what: &str, found: impl Fn(&str) -> bool) -> String {
        wait_for(what, || self.stdout.lock().unwrap().iter().find(|line| found(line)).cloned())
    }

    /// The lines of standard error so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The lines of standard output so far.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the end of the process", || child.try_wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect_lines(stream: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let filled = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            filled.lock().unwrap().push(line);
        }
    });
    lines
}

/// Runs a command to its end, which must come soon.
pub(crate) fn run_to_end(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("process {id} does not end")).unwrap()
}
