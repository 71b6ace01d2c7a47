//! Files fit a head, functions a screen; what does not is listed here, and nowhere else. That every `unsafe` says why it is
//! sound is clippy's to check.

use std::path::{Path, PathBuf};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 80;

/// Longer files, and why.
const LONG_FILES: [(&str, &str); 4] = [
    ("common/agent/src/agent.rs", "the agent's loop and its answers; to be split"),
    ("common/sys/src/flat.rs", "tables of records that two programs share: splitting them would hide half of a layout"),
    ("coordinator/src/barrier.rs", "one state machine"),
    ("coordinator/src/server/events.rs", "one loop"),
];

/// Longer functions: file and name.
const LONG_FUNCTIONS: [(&str, &str); 0] = [];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources() -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = ["benches", "common", "coordinator", "fuzz", "plugins", "preload", "restart", "tests"].iter().map(|f| root().join(f)).collect();
    let mut out = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path()) {
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
                out.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    out.sort();
    out
}

#[test]
fn files_are_short() {
    let all = sources();
    assert!(all.len() > 100, "the sources were not found");
    let long: Vec<&str> = all.iter().filter(|(_, text)| text.lines().count() > FILE_LINES).map(|f| f.0.as_str()).collect();
    let new: Vec<_> = long.iter().filter(|f| LONG_FILES.iter().all(|l| l.0 != **f)).collect();
    assert!(new.is_empty(), "longer than {FILE_LINES} lines: {new:?}; split them by meaning");
}

/// Name and length of each function: from its line to the brace at its depth.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut out = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = line.trim_start().split("fn ").nth(1).filter(|_| is_function(line)) else { continue };
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = lines[at..].iter().position(|l| depth(l) == depth(line) && l.trim() == "}");
        out.extend(end.map(|end| (name, end + 1)));
    }
    out
}

fn is_function(line: &str) -> bool {
    let line = line.trim_start();
    let head = ["fn ", "pub fn ", "pub(", "unsafe ", "pub unsafe ", "const fn", "pub const fn", "extern ", "pub extern "];
    line.contains("fn ") && !line.ends_with(';') && !line.ends_with('}') && head.iter().any(|h| line.starts_with(h))
}

#[test]
fn functions_fit_a_screen() {
    let all = sources();
    let long = all.iter().flat_map(|(file, text)| functions(text).into_iter().map(move |f| (file, f)));
    let long: Vec<_> = long.filter(|(_, f)| f.1 > FUNCTION_LINES).collect();
    let known = |file: &str, name: &str| LONG_FUNCTIONS.iter().any(|l| l.0 == file && l.1 == name);
    let new: Vec<_> = long.iter().filter(|(file, f)| !known(file, &f.0)).collect();
    assert!(new.is_empty(), "longer than {FUNCTION_LINES} lines: {new:?}");
}
