//! `deploy/`: the manifests fit together, and with the program that they start.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_yaml::Value;

use crate::support::{Gateway, KEY, Origin, keygate, run_to_end, sdk_python};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn manifest(name: &str) -> Value {
    let text = std::fs::read_to_string(deploy().join("kubernetes").join(name)).unwrap();
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The value at a path like `spec.template.spec.containers.0.image`.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, step| {
        let found = match step.parse::<usize>() {
            Ok(index) => value.get(index),
            Err(_) => value.get(step),
        };
        found.unwrap_or_else(|| panic!("no `{step}` of `{path}`"))
    })
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_else(|| panic!("`{path}` is no text"))
}

fn pod() -> Value {
    at(&manifest("deployment.yaml"), "spec.template.spec").clone()
}

fn config() -> String {
    manifest("configmap.yaml")["data"]["keygate.yaml"].as_str().unwrap().to_owned()
}

#[test]
fn kustomize_lists_every_manifest() {
    let mut listed: Vec<String> =
        serde_yaml::from_value(manifest("kustomization.yaml")["resources"].clone()).unwrap();
    listed.push("kustomization.yaml".to_owned());
    listed.sort();
    let files = std::fs::read_dir(deploy().join("kubernetes")).unwrap();
    let mut files: Vec<String> =
        files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(listed, files);
}

/// `preStop.sleep` came with the first of these versions.
#[test]
fn kubernetes_knows_every_field() {
    let validate = |files: &[PathBuf]| {
        let mut command = Command::new(sdk_python().with_file_name("kubernetes-validate"));
        command.args(["--strict", "-k", "1.30", "-k", "1.37"]).args(files);
        let output = run_to_end(command);
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let names = ["configmap.yaml", "deployment.yaml", "poddisruptionbudget.yaml", "service.yaml"];
    let (fit, said) = validate(&names.map(|name| deploy().join("kubernetes").join(name)));
    assert!(fit, "{said}");
    let directory = tempfile::TempDir::new().unwrap();
    let wrong = directory.path().join("wrong.yaml");
    let deployment = std::fs::read_to_string(deploy().join("kubernetes/deployment.yaml")).unwrap();
    std::fs::write(&wrong, deployment.replace("preStop:", "prestop:")).unwrap();
    let (fit, said) = validate(&[wrong]);
    assert!(!fit && said.contains("prestop"), "{said}");
}

#[test]
fn what_selects_pods_selects_these() {
    let deployment = manifest("deployment.yaml");
    let labels = at(&deployment, "spec.template.metadata.labels");
    assert_eq!(at(&deployment, "spec.selector.matchLabels"), labels);
    assert_eq!(at(&manifest("service.yaml"), "spec.selector"), labels);
    assert_eq!(at(&manifest("poddisruptionbudget.yaml"), "spec.selector.matchLabels"), labels);
    let spread = "spec.template.spec.topologySpreadConstraints.0.labelSelector.matchLabels";
    assert_eq!(at(&deployment, spread), labels);
}

#[test]
fn ports_probes_and_times_are_those_of_the_config() {
    let (pod, config) = (pod(), config());
    let config: Value = serde_yaml::from_str(&config).unwrap();
    let port = at(&pod, "containers.0.ports.0.containerPort").as_u64().unwrap();
    assert_eq!(text(&config, "proxy.listen.0"), format!("0.0.0.0:{port}"));
    let name = text(&pod, "containers.0.ports.0.name");
    for probe in ["readinessProbe", "livenessProbe"] {
        assert_eq!(text(&pod, &format!("containers.0.{probe}.httpGet.path")), "/healthz");
        assert_eq!(text(&pod, &format!("containers.0.{probe}.httpGet.port")), name);
    }
    assert_eq!(text(&manifest("service.yaml"), "spec.ports.0.targetPort"), name);
    let seconds = |field: &str| {
        humantime::parse_duration(text(&config, &format!("proxy.shutdown.{field}"))).unwrap().as_secs()
    };
    let sleep = at(&pod, "containers.0.lifecycle.preStop.sleep.seconds").as_u64().unwrap();
    let whole = at(&pod, "terminationGracePeriodSeconds").as_u64().unwrap();
    assert!(sleep + seconds("delay") + seconds("grace") < whole);
}

#[test]
fn the_pod_needs_no_rights_and_runs_as_the_user_of_the_image() {
    let pod = pod();
    let dockerfile = std::fs::read_to_string(deploy().join("Dockerfile")).unwrap();
    let user = at(&pod, "securityContext.runAsUser").as_u64().unwrap();
    let group = at(&pod, "securityContext.runAsGroup").as_u64().unwrap();
    assert!(dockerfile.contains(&format!("\nUSER {user}:{group}\n")), "{dockerfile}");
    let container = at(&pod, "containers.0.securityContext");
    assert_eq!(at(&pod, "securityContext.runAsNonRoot").as_bool(), Some(true));
    assert_eq!(at(container, "readOnlyRootFilesystem").as_bool(), Some(true));
    assert_eq!(at(container, "allowPrivilegeEscalation").as_bool(), Some(false));
    assert_eq!(text(container, "capabilities.drop.0"), "ALL");
    assert_eq!(at(&pod, "automountServiceAccountToken").as_bool(), Some(false));
    assert_eq!(text(&pod, "volumes.1.secret.secretName"), "keygate");
}

#[test]
fn the_image_is_built_with_the_rust_that_the_crate_needs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    let dockerfile = std::fs::read_to_string(deploy().join("Dockerfile")).unwrap();
    let image = format!("FROM rust:{}-", version.trim_matches('"'));
    assert!(dockerfile.contains(&image), "no `{image}`");
}

/// `keygate init` writes a file that its owner alone can read, and the admin API writes it anew.
#[test]
fn the_service_owns_its_config_and_has_time_to_drain() {
    let unit = std::fs::read_to_string(deploy().join("keygate.service")).unwrap();
    let set = |name: &str| -> Vec<&str> {
        unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
    };
    let one = |name: &str| {
        let values = set(name);
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0]
    };
    let directory = one("ReadWritePaths");
    for command in ["ExecStart", "ExecStartPre"] {
        assert!(one(command).ends_with(&format!(" -c {directory}/keygate.yaml")), "{command}");
    }
    assert_eq!(set("DynamicUser"), [""; 0], "it could not read what only a known user may");
    let user = one("User");
    assert!(unit.contains(&format!("#   useradd --system --shell /usr/sbin/nologin {user}\n")));
    assert!(unit.contains(&format!("#   install -d -m 0700 -o {user} -g {user} {directory}\n")));
    let page =
        std::fs::read_to_string(deploy().parent().unwrap().join("docs").join("access-log.md")).unwrap();
    assert!(page.contains(&format!("to: /var/log/{}/access.log", one("LogsDirectory"))));
    let seconds: u64 = one("TimeoutStopSec").strip_suffix('s').unwrap().parse().unwrap();
    let full = std::fs::read_to_string(deploy().parent().unwrap().join("conf").join("full.yaml")).unwrap();
    let full: Value = serde_yaml::from_str(&full).unwrap();
    let time = |name: &str| {
        let value = text(&full, &format!("proxy.shutdown.{name}"));
        value.strip_suffix('s').and_then(|value| value.parse::<u64>().ok()).unwrap()
    };
    assert!(seconds > time("delay") + time("grace"), "TimeoutStopSec={seconds}s");
}

/// A volume as the kubelet lays it out: `FILE -> ..data/FILE`, `..data -> ..VERSION`.
struct Volume(PathBuf);

impl Volume {
    fn new(directory: &Path, file: &str, content: &str) -> Self {
        std::fs::create_dir(directory).unwrap();
        let volume = Self(directory.to_owned());
        volume.write("..1", file, content);
        symlink("..1", volume.0.join("..data")).unwrap();
        symlink(Path::new("..data").join(file), volume.0.join(file)).unwrap();
        volume
    }

    fn write(&self, version: &str, file: &str, content: &str) {
        std::fs::create_dir(self.0.join(version)).unwrap();
        std::fs::write(self.0.join(version).join(file), content).unwrap();
    }

    /// Another content: the new directory, the link to it beside the old one, the rename, and the old one is removed.
    fn swap(&self, file: &str, content: &str) {
        self.write("..2", file, content);
        symlink("..2", self.0.join("..data_tmp")).unwrap();
        std::fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
        std::fs::remove_dir_all(self.0.join("..1")).unwrap();
    }
}

#[test]
fn the_config_map_serves_and_both_volumes_are_followed() {
    const NEXT: &str = "sk-the-next-one-0123456789abcdef";
    let origin = Origin::start();
    let directory = tempfile::TempDir::new().unwrap();
    let mounts = at(&pod(), "containers.0.volumeMounts").clone();
    let secret_mount = text(&mounts, "1.mountPath").to_owned();
    let secret_volume = directory.path().join("secret");
    let config = config();
    assert!(config.contains(&format!("api_key: file:{secret_mount}/api_key\n")), "{config}");
    let config = config
        .replace(&secret_mount, secret_volume.to_str().unwrap())
        .replace("0.0.0.0:8045", "127.0.0.1:0")
        .replace("vllm.models.svc.cluster.local:8000", &origin.address.to_string())
        + "admin: {enabled: false}\n";
    // `kubectl create secret --from-literal` puts no newline behind it.
    let secret = Volume::new(&secret_volume, "api_key", KEY);
    let map = Volume::new(&directory.path().join("config"), "keygate.yaml", &config);
    let file = map.0.join("keygate.yaml");
    let gateway = Gateway::run(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]), directory);
    let status = |path: &str, key: &str| {
        gateway.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n\r\n")).status
    };
    assert_eq!(gateway.exchange("GET /healthz HTTP/1.1\r\nHost: 10.1.2.3:8045\r\n\r\n").status, 200);
    assert_eq!((status("/v1/models", KEY), status("/v1/models", NEXT)), (200, 401));
    secret.swap("api_key", NEXT);
    gateway.wait_for_generation(2);
    assert_eq!((status("/v1/models", KEY), status("/v1/models", NEXT)), (401, 200));
    assert_eq!(status("/v2", NEXT), 404);
    map.swap("keygate.yaml", &config.replace("path_prefix: /v1", "path_prefix: /v2"));
    gateway.wait_for_generation(3);
    assert_eq!((status("/v2", NEXT), status("/v1/models", NEXT)), (200, 404));
}
