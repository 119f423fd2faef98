//! Where the policy comes from, at start and at every reload: config file → config → compiled policy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, Loaded};
use crate::policy::{self, Compiled, Startup};
use crate::problem::Problem;

/// Where the config comes from.
#[derive(Debug)]
pub enum ConfigSource {
    /// A file, which is followed while the gateway runs.
    File(PathBuf),
    /// Made by the program itself; it never changes.
    Embedded(Box<Config>),
}

/// A policy, and what it was made from.
#[derive(Debug)]
pub struct LoadedPolicy {
    /// The config as written.
    pub config: Config,
    /// What it means.
    pub compiled: Compiled,
    /// Every file that it was read from.
    pub files: Vec<PathBuf>,
    /// What is doubtful, as lines for the log.
    pub warnings: Vec<String>,
}

/// Why there is no policy: one rendered problem each.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected(pub Vec<String>);

impl ConfigSource {
    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
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
        let (mut config, mut warnings, files, render): (_, _, _, Render) = match self {
            Self::File(path) => {
                let Loaded { config, source, warnings, files } = read(path)?;
                (config, warnings, files, Box::new(move |problem| source.render(problem)))
            }
            Self::Embedded(config) => {
                ((**config).clone(), Vec::new(), Vec::new(), Box::new(|problem| problem.message.clone()))
            }
        };
        if !listen.is_empty() {
            config.proxy.listen = listen.iter().map(ToString::to_string).collect();
        }
        let all = |problems: &[Problem]| problems.iter().map(&render).collect();
        let outcome = policy::compile(&config, generation, running);
        config.forget_bulk();
        match outcome {
            Ok(compiled) => {
                warnings.extend_from_slice(&compiled.warnings);
                Ok(LoadedPolicy { config, compiled, files, warnings: all(&warnings) })
            }
            Err(problems) => Err(Rejected(all(&problems))),
        }
    }
}

/// A problem as a line of text, with its place in the file.
type Render = Box<dyn Fn(&Problem) -> String>;

fn read(path: &Path) -> Result<Loaded, Rejected> {
    config::load(path, &|name| std::env::var(name).ok()).map_err(|mut failure| {
        // What is wrong between the values that could be read belongs to the same list.
        failure.add_checks(|config| policy::compile(config, 1, None).err().unwrap_or_default());
        Rejected(failure.problems.iter().map(|problem| failure.source.render(problem)).collect())
    })
}
