//! The files of `conf/` are right: the reference is the generated one, and each loads without a word.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{Env, LoadFailure, Loaded, parse};
use crate::policy;

fn conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

/// All config files below `conf/`.
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = [conf(), conf().join("recipes")]
        .iter()
        .flat_map(|directory| fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    files
}

/// An environment that has what the files need.
const ENV: Env<'_> =
    &|name| (name == "KEYGATE_API_KEY").then(|| "sk-0123456789abcdef0123456789abcdef".to_owned());

fn read(path: &Path) -> Result<Loaded, LoadFailure> {
    parse(path, &fs::read(path).unwrap(), ENV)
}

#[test]
fn full_yaml_is_the_reference() {
    let path = conf().join("full.yaml");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == reference(),
        "conf/full.yaml is out of date: UPDATE_REFERENCE=1 cargo test --lib writes it"
    );
}

#[test]
fn every_file_loads_and_compiles_without_a_warning() {
    for path in files() {
        let loaded = read(&path).unwrap_or_else(|failure| {
            let lines: Vec<_> =
                failure.problems.iter().map(|problem| failure.source.render(problem)).collect();
            panic!("{}", lines.join("\n"))
        });
        let warnings = match policy::compile(&loaded.config, 1, None) {
            Ok(compiled) => compiled.warnings,
            Err(problems) => problems,
        };
        let said: Vec<_> =
            loaded.warnings.iter().chain(&warnings).map(|problem| loaded.source.render(problem)).collect();
        assert!(said.is_empty(), "{}", said.join("\n"));
    }
}

#[test]
fn every_file_fits_the_schema() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for path in files() {
        let mut value: serde_yaml::Value = serde_yaml::from_slice(&fs::read(&path).unwrap()).unwrap();
        value.apply_merge().unwrap();
        let value = serde_json::to_value(value).unwrap();
        let wrong: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
    }
}

#[test]
fn every_file_says_first_who_it_is_for() {
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{}", path.display());
        assert!(
            text.lines().all(|line| line.chars().count() <= 120 && line.trim_end() == line),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_setting_that_it_shows_is_the_default() {
    let shown = read(&conf().join("full.yaml")).unwrap().config;
    let mut proxy = shown.proxy;
    proxy.api_key = None;
    assert_eq!(format!("{proxy:?}"), format!("{:?}", crate::config::Proxy::default()));
    let timeouts = &shown.upstreams["openai"].timeouts;
    assert_eq!(format!("{timeouts:?}"), format!("{:?}", crate::config::Timeouts::default()));
}

#[test]
fn the_reference_shows_every_field() {
    let text = reference();
    let schema = schema();
    let mut fields = 0;
    let objects = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for object in objects.filter(|object| object.get("properties").is_some()) {
        for name in object["properties"].as_object().unwrap().keys() {
            fields += 1;
            assert!(text.contains(&format!("{name}: ")) || text.contains(&format!("{name}:\n")), "{name}");
        }
    }
    assert!(fields >= 25, "{fields}");
    assert!(!text.contains(": null"), "a commented field without an example");
}
