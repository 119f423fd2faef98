//! Where the policy comes from, at start and at every reload: config file → config → compiled policy.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{self, Config, LoadFailure, Loaded};
use crate::policy::{self, Compiled, Startup};
use crate::problem::Problem;

/// Where the config comes from.
#[derive(Debug)]
pub enum ConfigSource {
    /// A file, which is followed while the gateway runs.
    File(PathBuf),
    /// A file that is read once, as to look at it. It may be a pipe that the process was given (`/dev/stdin`).
    Once(PathBuf),
    /// Made by the program itself; it never changes.
    Embedded(Box<Config>),
}

/// A policy, and what it was made from.
#[derive(Debug)]
pub struct LoadedPolicy {
    /// The config as written.
    pub config: Config,
    /// The same for people, without secrets; empty where there is no file.
    pub shown: serde_json::Value,
    /// What it means.
    pub compiled: Compiled,
    /// Every file that it was read from.
    pub files: Vec<PathBuf>,
    /// What is doubtful, as lines for the log.
    pub warnings: Vec<String>,
}

/// What a file has become since it was read.
#[derive(Debug)]
pub(super) enum Change {
    /// The same as before, read from these files.
    None(Vec<PathBuf>),
    /// Something else.
    To(Box<LoadedPolicy>),
}

/// Why there is no policy.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Every problem, warnings included, as lines for people.
    pub problems: Vec<String>,
    /// How many of them are errors.
    pub errors: usize,
}

impl Rejected {
    fn of(problems: &[Problem], render: impl Fn(&Problem) -> String) -> Self {
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        Self { problems: problems.iter().map(render).collect(), errors }
    }
}

impl ConfigSource {
    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) | Self::Once(path) => Some(path.clone()),
            Self::Embedded(_) => None,
        }
    }

    /// Makes policy number `generation`. `listen` takes the place of the config's listeners; `running` is what the
    /// process was started with, if it runs.
    ///
    /// # Errors
    /// Everything that is wrong with the config.
    pub fn load(
        &self,
        listen: &[SocketAddr],
        generation: u64,
        running: Option<&Startup>,
    ) -> Result<LoadedPolicy, Rejected> {
        match self {
            Self::File(path) => {
                compiled(config::load(path, &environment).map_err(rejected)?, listen, generation, running)
            }
            Self::Once(path) => compiled(
                config::load_once(path, &environment).map_err(rejected)?,
                listen,
                generation,
                running,
            ),
            Self::Embedded(config) => embedded((**config).clone(), listen, generation, running),
        }
    }

    /// What [`load`](Self::load) makes of the file, unless it holds what is `in_force`: to compile a million keys again takes time and
    /// memory.
    ///
    /// # Errors
    /// Everything that is wrong with the config.
    pub(super) fn load_change(
        &self,
        in_force: &Config,
        listen: &[SocketAddr],
        generation: u64,
        running: &Startup,
    ) -> Result<Change, Rejected> {
        if let Self::File(path) = self {
            let mut loaded = config::load(path, &environment).map_err(rejected)?;
            listen_instead(&mut loaded.config, listen);
            if loaded.config == *in_force {
                return Ok(Change::None(loaded.files));
            }
            return compiled(loaded, listen, generation, Some(running)).map(Box::new).map(Change::To);
        }
        self.load(listen, generation, Some(running)).map(Box::new).map(Change::To)
    }

    /// What [`load`](Self::load) would make of the file if `bytes` were in it.
    ///
    /// # Errors
    /// Everything that would be wrong with the config.
    pub(super) fn preview(
        &self,
        bytes: &[u8],
        listen: &[SocketAddr],
        running: &Startup,
    ) -> Result<LoadedPolicy, Rejected> {
        compiled(self.parse(bytes)?, listen, 1, Some(running))
    }

    /// What is written in `bytes`, as far as one value at a time can tell that it is right.
    ///
    /// # Errors
    /// Everything that is wrong with the values.
    pub(super) fn parse(&self, bytes: &[u8]) -> Result<Loaded, Rejected> {
        config::parse(&self.file().unwrap_or_default(), bytes, &environment).map_err(rejected)
    }
}

fn compiled(
    loaded: Loaded,
    listen: &[SocketAddr],
    generation: u64,
    running: Option<&Startup>,
) -> Result<LoadedPolicy, Rejected> {
    let Loaded { mut config, source, mut warnings, shown, files } = loaded;
    let all = |problems: &[Problem]| problems.iter().map(|problem| source.render(problem)).collect();
    listen_instead(&mut config, listen);
    let outcome = policy::compile(&config, generation, running);
    config.forget_bulk();
    match outcome {
        Ok(compiled) => {
            warnings.extend_from_slice(&compiled.warnings);
            source.put_in_order(&mut warnings);
            Ok(LoadedPolicy { config, shown, compiled, files, warnings: all(&warnings) })
        }
        Err(problems) => {
            warnings.extend(problems);
            source.put_in_order(&mut warnings);
            Err(Rejected::of(&warnings, |problem| source.render(problem)))
        }
    }
}

fn embedded(
    mut config: Config,
    listen: &[SocketAddr],
    generation: u64,
    running: Option<&Startup>,
) -> Result<LoadedPolicy, Rejected> {
    let all = |problems: &[Problem]| problems.iter().map(|problem| problem.message.clone()).collect();
    listen_instead(&mut config, listen);
    let compiled = policy::compile(&config, generation, running)
        .map_err(|problems| Rejected::of(&problems, |problem| problem.message.clone()))?;
    let warnings = all(&compiled.warnings);
    let shown = serde_json::Value::Object(serde_json::Map::new());
    Ok(LoadedPolicy { config, shown, compiled, files: Vec::new(), warnings })
}

fn listen_instead(config: &mut Config, listen: &[SocketAddr]) {
    if !listen.is_empty() {
        config.proxy.listen = listen.iter().map(ToString::to_string).collect();
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn rejected(mut failure: LoadFailure) -> Rejected {
    // What is wrong between the values that could be read belongs to the same list.
    failure.add_checks(|config| policy::compile(config, 1, None).err().unwrap_or_default());
    Rejected::of(&failure.problems, |problem| failure.source.render(problem))
}
