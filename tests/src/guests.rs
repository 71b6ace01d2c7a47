//! The guests: found by their sources, described by the comments at their top.

use std::fs;
use std::path::{Path, PathBuf};

/// How a guest is expected to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    Exit(i32),
    Signal(i32),
}

/// One program with one argument.
#[derive(Clone)]
pub struct Guest {
    /// family/program or family/program-argument
    pub name: String,
    pub family: String,
    /// What it shows, one sentence.
    pub about: String,
    pub source: PathBuf,
    /// A plugin it is launched with, from the root of the checkout.
    pub plugin: Option<PathBuf>,
    /// Compiler flags of its own.
    pub flags: Vec<String>,
    /// Options of ckpt_launch and ckpt_restart that it is about; `@DIR@` is the run's folder.
    pub launch: String,
    pub restart: String,
    /// Each of its callbacks takes at least so many microseconds.
    pub callbacks: Option<u64>,
    /// family/program, below the folder of built guests.
    pub program: String,
    pub argument: Option<String>,
    pub expect: Expect,
    /// The first process ends at once and what it left says `ok`.
    pub detached: bool,
}

/// The words of a `// key: words` line among the comments at the top.
fn words<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let head = text.lines().take_while(|l| l.starts_with("//"));
    head.filter_map(|l| l.strip_prefix("// ")?.strip_prefix(key)?.strip_prefix(':')).next().map(str::trim)
}

fn expectation(text: &str) -> Result<Expect, String> {
    match words(text, "expect") {
        None => Ok(Expect::Exit(0)),
        Some("SIGTERM") => Ok(Expect::Signal(15)),
        Some(code) => code.parse().map(Expect::Exit).map_err(|_| format!("expect: {code} is no exit code")),
    }
}

fn read(source: &Path, family: &str, found: &mut Vec<Guest>) -> Result<(), String> {
    let text = fs::read_to_string(source).map_err(|e| format!("cannot read {}: {e}", source.display()))?;
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    let program = format!("{family}/{stem}");
    let arguments: Vec<Option<String>> = match words(&text, "args") {
        None => vec![None],
        Some(list) => list.split_whitespace().map(|a| Some(a.to_string())).collect(),
    };
    for argument in arguments {
        found.push(Guest {
            name: argument.as_ref().map_or(program.clone(), |a| format!("{program}-{a}")),
            family: family.into(),
            about: text.lines().next().unwrap_or("").trim_start_matches("// ").into(),
            source: source.into(),
            plugin: words(&text, "plugin").map(PathBuf::from),
            flags: words(&text, "cc").unwrap_or("").split_whitespace().map(String::from).collect(),
            launch: words(&text, "launch").unwrap_or("").into(),
            restart: words(&text, "restart").unwrap_or("").into(),
            callbacks: words(&text, "callbacks").and_then(|us| us.parse().ok()),
            program: program.clone(),
            argument,
            expect: expectation(&text)?,
            detached: words(&text, "detached").is_some(),
        });
    }
    Ok(())
}

/// All guests, in the order of their names.
pub fn all(root: &Path) -> Result<Vec<Guest>, String> {
    let mut found = Vec::new();
    for folder in entries(&root.join("tests/guests"))?.iter().filter(|p| p.is_dir()) {
        let family = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for source in entries(folder)?.iter().filter(|p| p.extension().is_some_and(|e| e == "c" || e == "rs")) {
            read(source, &family, &mut found)?;
        }
    }
    Ok(found)
}

pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let list = fs::read_dir(folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = list.flatten().map(|e| e.path()).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_at_the_top_are_read() {
        let text = "// About.\n// cc: -mavx -O2\n// expect: 42\n#include <x.h>\n// args: not here\n";
        assert_eq!(words(text, "cc"), Some("-mavx -O2"));
        assert_eq!(words(text, "args"), None);
        assert_eq!(expectation(text), Ok(Expect::Exit(42)));
    }

    #[test]
    fn a_bad_expectation_is_named() {
        assert!(expectation("// expect: soon\n").unwrap_err().contains("soon"));
    }
}
