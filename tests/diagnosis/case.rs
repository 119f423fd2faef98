//! A gateway to be asked why it refuses, and everybody who can be asked: `explain`, `explain --id` and `doctor`, each as
//! JSON and in words, and the log.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::TOKEN;
use crate::support::{Gateway, KEY, Origin, keygate, run_to_end, without_sdk_variables};

/// A gateway to be asked, and what it said.
pub(super) struct Case {
    pub(super) gateway: Gateway,
    pub(super) origin: Origin,
    pub(super) printed: Vec<String>,
    /// What is set where the tools run.
    pub(super) environment: Vec<(&'static str, String)>,
    /// How long each run of a tool took, for who wants to see it.
    took: Vec<(String, Duration)>,
}

impl Case {
    /// `proxy` and `rest` are lines of the config.
    pub(super) fn new(proxy: &str, rest: &str) -> Self {
        Self::with_origin(Origin::start(), proxy, rest)
    }

    pub(super) fn with_origin(origin: Origin, proxy: &str, rest: &str) -> Self {
        let gateway = Gateway::start(&Self::config(&origin, proxy, rest));
        Self { gateway, origin, printed: Vec::new(), environment: Vec::new(), took: Vec::new() }
    }

    fn config(origin: &Origin, proxy: &str, rest: &str) -> String {
        format!(
            "proxy: {{listen: ['127.0.0.1:0'], {proxy}}}\nadmin: {{listen: '127.0.0.1:0', token: {TOKEN}}}\n\
             upstreams: {{origin: {{peers: ['{}']}}}}\nroutes: [{{path_prefix: /, upstream: origin}}]\n{rest}\n",
            origin.address
        )
    }

    pub(super) fn strict() -> Self {
        Self::new(&format!("auth_mode: strict, api_key: {KEY}"), "")
    }

    pub(super) fn reconfigure(&self, proxy: &str, rest: &str) {
        self.gateway.replace_config(&Self::config(&self.origin, proxy, rest));
    }

    /// Sends a request with curl; its status and request id.
    pub(super) fn curl(&self, path: &str, arguments: &[&str]) -> (u16, String) {
        let mut command = Command::new("curl");
        let url = format!("http://{}{path}", self.gateway.address());
        command.args([
            "-q",
            "-s",
            "--noproxy",
            "*",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %header{x-request-id}",
            &url,
        ]);
        let output = run_to_end({
            command.args(arguments);
            command
        });
        let said = String::from_utf8(output.stdout).unwrap();
        let (status, id) = said.split_once(' ').unwrap();
        (status.parse().unwrap(), id.to_owned())
    }

    /// What a tool says with `--json`. It says the same in words, with one cause.
    fn run(&mut self, arguments: &[&str]) -> (Option<i32>, Value) {
        let (code, said) = self.run_as(arguments, &["--json"]);
        let json: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let (code_in_words, words) = self.run_as(arguments, &[]);
        assert_eq!(code_in_words, code, "{words}");
        let causes: Vec<&str> = words.lines().filter_map(|line| line.strip_prefix("cause: ")).collect();
        let places = ["/verdict/cause", "/explanation/diagnosis/cause", "/diagnosis/cause"];
        let in_json = places.iter().find_map(|place| json.pointer(place)?.as_str());
        assert_eq!(causes.len(), usize::from(in_json.is_some()), "{words}");
        assert!(causes.iter().zip(in_json).all(|(line, cause)| line.starts_with(cause)), "{words}{json}");
        (code, json)
    }

    fn run_as(&mut self, arguments: &[&str], form: &[&str]) -> (Option<i32>, String) {
        let mut command = keygate([arguments, form].concat());
        command.current_dir(self.gateway.directory.path()).env("KEYGATE_ADMIN_TOKEN", TOKEN);
        without_sdk_variables(&mut command);
        command.envs(self.environment.clone());
        let begun = Instant::now();
        let output = run_to_end(command);
        let tool = if arguments.contains(&"--id") { "explain --id" } else { arguments[0] };
        self.took.push((tool.to_owned(), begun.elapsed()));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.contains(&KEY[3..15]), "{said}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code(), said)
    }

    fn admin(&self) -> String {
        format!("http://{}", self.gateway.admin())
    }

    pub(super) fn doctor(&mut self, arguments: &[&str]) -> (Option<i32>, String) {
        let (url, admin) = (format!("http://{}", self.gateway.address()), self.admin());
        let (code, json) = self.run(&[&["doctor", &url, "--admin", &admin], arguments].concat());
        self.printed.push(json["verdict"]["cause"].as_str().unwrap().to_owned());
        (code, json["verdict"]["reason"].as_str().unwrap().to_owned())
    }

    pub(super) fn explain(&mut self, arguments: &[&str]) -> String {
        let (code, json) = self.run(&[&["explain"], arguments].concat());
        assert_eq!(code, Some(1));
        self.printed.push(json["diagnosis"]["cause"].as_str().unwrap().to_owned());
        json["diagnosis"]["reason"].as_str().unwrap().to_owned()
    }

    /// What `explain` says when it asks the gateway, which knows more than the file does.
    pub(super) fn explain_running(&mut self, arguments: &[&str]) -> String {
        let admin = self.admin();
        self.explain(&[&["--admin", &admin], arguments].concat())
    }

    /// The gateway lets it pass; what `explain` finds wrong with it all the same, of the file and of the gateway.
    pub(super) fn passes(&mut self, arguments: &[&str], reason: Option<&str>) {
        let admin = self.admin();
        for whom in [&[][..], &["--admin", &admin]] {
            let (code, json) = self.run(&[&["explain"], whom, arguments].concat());
            assert_eq!((code, &json["decision"]), (Some(0), &Value::from("allow")), "{json}");
            assert_eq!(json["diagnosis"]["reason"].as_str(), reason, "{json}");
            self.printed.extend(json["diagnosis"]["cause"].as_str().map(str::to_owned));
        }
    }

    /// The gateway has no record of this request, and `explain --id` says what that means.
    pub(super) fn not_recorded(&mut self, id: &str) {
        let (admin, directory) = (self.admin(), self.gateway.directory.path());
        let mut command = keygate(["explain", "--id", id, "--admin", &admin]);
        command.current_dir(directory).env("KEYGATE_ADMIN_TOKEN", TOKEN);
        let output = run_to_end(command);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("a 401 without `x-keygate-error` is not its own but the upstream's"), "{said}");
    }

    /// What the gateway recorded of the request, and wrote into its log.
    pub(super) fn recorded(&mut self, id: &str) -> String {
        let admin = self.admin();
        let (code, json) = self.run(&["explain", "--id", id, "--admin", &admin]);
        assert_eq!(code, Some(1));
        let diagnosis = &json["explanation"]["diagnosis"];
        let reason = diagnosis["reason"].as_str().unwrap().to_owned();
        // Later ones of the same second may be left out of the log.
        if self.printed.is_empty() {
            let line = self
                .gateway
                .program()
                .wait_for_log("the denial", |line| line.contains(&format!(" id={id} ")));
            assert!(line.contains(&format!(" reason={reason} ")), "{line}");
            assert!(!line.contains(&KEY[3..15]), "{line}");
        }
        self.printed.push(diagnosis["cause"].as_str().unwrap().to_owned());
        reason
    }

    /// Sends these header lines with curl, and asks everybody what is wrong with them.
    pub(super) fn refused(&mut self, path: &str, lines: &[&str], reason: &str) {
        let headers: Vec<&str> = lines.iter().flat_map(|line| ["-H", *line]).collect();
        // curl leaves out a header behind whose colon nothing stands; with a semicolon it sends it empty.
        let for_curl: Vec<String> = headers
            .iter()
            .map(|line| line.strip_suffix(": ").map_or_else(|| (*line).to_owned(), |it| format!("{it};")))
            .collect();
        let (status, id) = self.curl(path, &for_curl.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(matches!(status, 401 | 403), "{status} {lines:?}");
        assert_eq!(self.recorded(&id), reason, "the record, {lines:?}");
        assert_eq!(
            self.explain(&[&["--path", path], headers.as_slice()].concat()),
            reason,
            "explain, {lines:?}"
        );
        let (code, said) = self.doctor(&[&["--path", path], headers.as_slice()].concat());
        assert_eq!((code, said.as_str()), (Some(1), reason), "doctor, {lines:?}");
    }
}

impl Drop for Case {
    #[expect(clippy::print_stdout, reason = "the figures, for who runs it to see them")]
    fn drop(&mut self) {
        for tool in ["explain", "explain --id", "doctor"] {
            let took = self.took.iter().filter(|(name, _)| name == tool).map(|(_, took)| took.as_millis());
            if let Some(most) = took.max() {
                println!("{tool}: at most {most} ms");
            }
        }
    }
}
