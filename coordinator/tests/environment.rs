//! Options from the environment. One test, in a process of its own: the environment belongs to the whole process.

use ckpt_coordinator::options::{parse_from, BadOptions, CheckpointOptions, CoordOptions};
use ckpt_wire::Compression;
use clap::Parser;
use std::ffi::OsString;

#[derive(Parser, Debug)]
#[command(name = "prog")]
struct Everything {
    #[command(flatten)]
    coord: CoordOptions,
    #[command(flatten)]
    checkpoint: CheckpointOptions,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

fn with(name: &str, value: &str, args: &[&str]) -> Result<Everything, BadOptions> {
    std::env::set_var(name, value);
    let args = std::iter::once("prog").chain(args.iter().copied()).map(OsString::from).collect();
    let parsed = parse_from(args);
    std::env::remove_var(name);
    parsed
}

#[test]
fn environment_stands_in_for_options_and_is_named_when_bad() {
    for (name, value) in [
        ("CKPT_COORD_PORT", "many"),
        ("CKPT_COORD_PORT", ""),
        ("CKPT_COORD_PORT", "70000"),
        ("CKPT_INTERVAL", "-1"),
        ("CKPT_SIGNAL", "KILL"),
        ("CKPT_COMPRESS", "zip"),
        ("CKPT_PAUSE", "long"),
        ("CKPT_KEEP", "x"),
        ("CKPT_QUIET", "perhaps"),
    ] {
        match with(name, value, &[]) {
            Err(BadOptions::Environment(text)) => {
                assert!(text.starts_with(&format!("environment variable {name}={value}: ")), "{text}")
            }
            other => panic!("{name}={value}: {other:?}"),
        }
    }
    assert_eq!(with("CKPT_COORD_PORT", "1234", &[]).unwrap().coord.port(), 1234);
    assert_eq!(with("CKPT_COORD_PORT", "1234", &["-p", "5"]).unwrap().coord.port(), 5);
    assert!(with("CKPT_QUIET", "1", &[]).unwrap().checkpoint.quiet);
    assert!(!with("CKPT_QUIET", "0", &[]).unwrap().checkpoint.quiet);
    assert_eq!(with("CKPT_COMPRESS", "lz4", &[]).unwrap().checkpoint.compression(), Some(Compression::Lz4));
    assert!(with("CKPT_COMPRESS", "lz4", &["--gzip"]).unwrap().checkpoint.gzip);
    let of_the_program = with("CKPT_COORD_PORT", "many", &["prog", "-p", "5"]).unwrap_err();
    assert!(matches!(of_the_program, BadOptions::Environment(_)));
    let on_the_line = with("CKPT_COORD_PORT", "1", &["-p", "many"]).unwrap_err();
    assert!(matches!(on_the_line, BadOptions::Clap(_)));
}
