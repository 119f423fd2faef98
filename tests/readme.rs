//! What the README and the pages of `docs/` tell people to type is typed here.
//!
//! The blocks that begin with `` ```sh run `` are one script a page, run in an empty directory with `keygate` on the path.
//! Each line of a `text` block right behind one must be in what that block printed; `…` stands for anything. The ports
//! of the pages (8045, 8046, 9001) are replaced by free ones, in what `keygate init` writes too.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use crate::support::run_to_end;

/// One runnable block and what must be in its output.
struct Block {
    script: String,
    expected: Vec<String>,
}

/// A page's blocks as (info string, content).
pub(crate) fn fences(page: &str) -> Vec<(String, String)> {
    let mut fences = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            let content: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
            fences.push((info.to_owned(), content.join("\n")));
        }
    }
    fences
}

fn runnable(page: &str) -> Vec<Block> {
    let fences = fences(page);
    let expected = |at: usize| match fences.get(at + 1) {
        Some((info, text)) if info == "text" => text.lines().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    fences
        .iter()
        .enumerate()
        .filter(|(_, (info, _))| info == "sh run")
        .map(|(at, (_, script))| Block { script: script.clone(), expected: expected(at) })
        .collect()
}

/// `needle`'s parts between `…` stand in one line of `text`, in this order.
fn says(text: &str, needle: &str) -> bool {
    text.lines().any(|line| {
        let mut rest = line;
        needle.trim().split('…').all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

/// Ports that nothing listens on. Not the kernel's to give: it could give them to another test meanwhile.
fn free_ports() -> [u16; 3] {
    static HANDED_OUT: AtomicU16 = AtomicU16::new(0);
    // Neighbouring processes, and pages of one process, look at ports far from each other.
    let page = HANDED_OUT.fetch_add(1, Ordering::SeqCst) * 100;
    let start = 20_000 + (std::process::id() % 1_000 * 10) as u16 + page;
    let mut free =
        (start..start + 100).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(3);
    [(); 3].map(|()| free.next().unwrap())
}

/// The program under its name, with free ports in place of the usual ones.
fn install(directory: &Path, ports: [(&str, String); 3]) -> PathBuf {
    let bin = directory.join(".bin");
    std::fs::create_dir(&bin).unwrap();
    let real = env!("CARGO_BIN_EXE_keygate");
    // The admin API's address is not in what `init` writes, so it is put there.
    let admin = format!("s/^admin:.*/&\\n  listen: \"127.0.0.1:{}\"/", ports[1].1);
    let replace = ports.map(|(usual, free)| format!("s/{usual}/{free}/g")).join(";");
    let replace = format!("{replace};{admin}");
    let wrapper = format!(
        "#!/bin/sh\n[ \"$1\" = init ] || exec {real} \"$@\"\n{real} \"$@\" && sed -i.usual '{replace}' \"${{2:-keygate.yaml}}\"\n"
    );
    let file = bin.join("keygate");
    std::fs::write(&file, wrapper).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    bin
}

/// Runs a page's blocks and compares what they print.
fn run(name: &str, blocks: &[Block]) {
    let directory = TempDir::new().unwrap();
    let [gateway, admin, origin] = free_ports().map(|port| port.to_string());
    let ports = [("8045", gateway), ("8046", admin), ("9001", origin)];
    let with_free_ports =
        |text: &str| ports.iter().fold(text.to_owned(), |text, (usual, free)| text.replace(usual, free));
    let bin = install(directory.path(), ports.clone());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let end = "--- end of a block ---";
    // Each block ends when what it started in the foreground has; the rest is ended with the script.
    let script: String = blocks
        .iter()
        .map(|block| format!("{}\necho; echo '{end}'\n", with_free_ports(&block.script)))
        .collect();
    let mut command = Command::new("bash");
    command
        .args([
            "-euo",
            "pipefail",
            "-c",
            &format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"),
        ])
        .current_dir(directory.path())
        .env("PATH", path)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    let output = run_to_end(command);
    let printed = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {script}\n{printed}\n{complaints}");
    let outputs: Vec<&str> = printed.split(end).collect();
    assert_eq!(outputs.len(), blocks.len() + 1, "{name}: {printed}");
    for (block, output) in blocks.iter().zip(outputs) {
        for line in block.expected.iter().map(|line| with_free_ports(line)) {
            assert!(says(output, &line), "{name}: {line:?} is not in what it printed:\n{output}");
        }
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_readme_does_what_it_says() {
    let page = std::fs::read_to_string(top().join("README.md")).unwrap();
    let blocks = runnable(&page);
    assert!(blocks.len() >= 3, "a sweep must have swept something");
    run("README.md", &blocks);
}

#[test]
fn every_other_command_of_the_readme_is_a_target_of_the_makefile() {
    let page = std::fs::read_to_string(top().join("README.md")).unwrap();
    let lines: Vec<String> = fences(&page)
        .iter()
        .filter(|(info, _)| info == "sh")
        .flat_map(|(_, content)| content.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(lines.len() >= 3, "a sweep must have swept something");
    for line in lines {
        let target = line.strip_prefix("make ").unwrap_or_else(|| panic!("`{line}` is run by no test"));
        let mut command = Command::new("make");
        // A dry run: it says what would be done, and fails where there is no such target.
        command.args(["--dry-run", target]).current_dir(top()).stdin(Stdio::null());
        let output = run_to_end(command);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_pages_of_docs_do_what_they_say() {
    let Ok(folder) = std::fs::read_dir(top().join("docs")) else { return };
    for entry in folder {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "md") {
            let blocks = runnable(&std::fs::read_to_string(&file).unwrap());
            if !blocks.is_empty() {
                run(&file.display().to_string(), &blocks);
            }
        }
    }
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let mut links = 0;
    let docs = std::fs::read_dir(top().join("docs")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
    for page in pages.map(|name| top().join(name)).into_iter().chain(docs) {
        let Ok(text) = std::fs::read_to_string(&page) else { continue };
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !target.is_empty() && !target.contains("://") {
                let file = page.parent().unwrap().join(target);
                assert!(file.exists(), "{}: `{target}` does not exist", page.display());
                links += 1;
            }
        }
    }
    assert!(links >= 10, "a sweep must have swept something: {links}");
}

#[test]
fn the_numbers_of_the_pages_are_those_of_the_results() {
    let mut check = Command::new("python3");
    check.args(["benches/compare/publish.py", "--check"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    // No bytecode beside the sources.
    check.env("PYTHONDONTWRITEBYTECODE", "1");
    let output = run_to_end(check);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_page_that_is_wrong_is_noticed() {
    let page = "```sh run\necho one\n```\n\n```text\nt…o\n```\n";
    let [block] = &runnable(page)[..] else { panic!("one block") };
    assert_eq!(block.expected, ["t…o"]);
    assert!(says("say two", &block.expected[0]) && !says("one", &block.expected[0]));
    for wrong in [page, "```sh run\nfalse\n```\n", "```sh run\nkeygate chekc\n```\n"] {
        let blocks = runnable(wrong);
        assert!(std::panic::catch_unwind(|| run("a page", &blocks)).is_err(), "{wrong}");
    }
    run("a page", &runnable(&page.replace("echo one", "echo two")));
}
