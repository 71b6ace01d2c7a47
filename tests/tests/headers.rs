//! include/ckpt as a user's compiler sees it: strict C99, C11 and, where there is a compiler for it, C++; the examples too.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[track_caller]
fn compiles(compiler: &str, options: &[&str], source: &Path) {
    let mut command = Command::new(compiler);
    command.args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I"]).arg(root().join("include")).args(options).arg(source);
    let out = command.output().expect("cc");
    assert!(out.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&out.stderr));
}

fn c_files(folder: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(root().join(folder)).unwrap().flatten().map(|e| e.path());
    let found: Vec<PathBuf> = all.filter(|p| p.extension().is_some_and(|e| e == "c")).collect();
    assert!(!found.is_empty(), "{folder}");
    found
}

/// A program of one line that includes a header.
fn including(header: &str, extension: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ckpt-header-{}-{header}.{extension}", std::process::id()));
    std::fs::write(&path, format!("#include <ckpt/{header}.h>\nint main(void) {{ return ckpt_enabled(); }}\n")).unwrap();
    path
}

#[test]
fn headers_are_strict_c() {
    for header in ["ckpt", "plugin"] {
        let source = including(header, "c");
        for standard in ["-std=c99", "-std=c11", "-std=gnu17"] {
            compiles("cc", &[standard, "-pedantic-errors", "-Wno-unused-function"], &source);
        }
        std::fs::remove_file(source).unwrap();
    }
}

#[test]
fn headers_are_cpp() {
    if Command::new("c++").arg("--version").output().is_err() {
        println!("skipped: no c++ (apt-get install g++)");
        return;
    }
    for header in ["ckpt", "plugin"] {
        let source = including(header, "cc");
        for standard in ["-std=c++11", "-std=c++20"] {
            compiles("c++", &[standard, "-pedantic-errors", "-Wno-unused-function"], &source);
        }
        std::fs::remove_file(source).unwrap();
    }
}

#[test]
fn examples_are_clean_c() {
    // They use more of POSIX than -std=c99 alone declares.
    for source in c_files("examples/plugins").into_iter().chain(c_files("examples/selfckpt")) {
        compiles("cc", &["-std=gnu99", "-D_DEFAULT_SOURCE", "-pedantic", "-Wno-unused-function"], &source);
    }
}
