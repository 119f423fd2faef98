//! Every limit and error, as the operator sees it.

use super::*;
use crate::policy;

fn no_env(_: &str) -> Option<String> {
    None
}

/// All problems of a text, rendered.
fn problems(yaml: &[u8]) -> Vec<String> {
    let (source, problems) = match parse(Path::new("k.yaml"), yaml, &no_env) {
        Ok(loaded) => (loaded.source, loaded.warnings),
        Err(failure) => (failure.source, failure.problems),
    };
    problems.iter().map(|problem| source.render(problem)).collect()
}

/// The only problem of a text.
#[track_caller]
fn problem(yaml: impl AsRef<[u8]>) -> String {
    let found = problems(yaml.as_ref());
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

/// The first line of the only problem of a text; the second one helps.
#[track_caller]
fn headline(yaml: impl AsRef<[u8]>) -> String {
    let problem = problem(yaml);
    let (first, help) = problem.split_once("\n  help: ").unwrap();
    assert!(!help.is_empty(), "{problem}");
    first.to_owned()
}

#[track_caller]
fn config(yaml: &str) -> Config {
    match parse(Path::new("k.yaml"), yaml.as_bytes(), &no_env) {
        Ok(loaded) => loaded.config,
        Err(failure) => panic!("{:#?}", failure.problems),
    }
}

mod checks_between_values;
mod hostile;
mod secrets;
mod text_and_shape;
mod values;
