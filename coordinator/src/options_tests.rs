use super::*;

#[derive(Parser, Debug)]
#[command(name = "prog")]
struct Everything {
    #[command(flatten)]
    coord: CoordOptions,
    #[command(flatten)]
    join: JoinOptions,
    #[command(flatten)]
    checkpoint: CheckpointOptions,
}

fn parse_args(args: &[&str]) -> Result<Everything, BadOptions> {
    let args = std::iter::once("prog").chain(args.iter().copied()).map(OsString::from).collect();
    parse_from(args)
}

#[test]
fn defaults() {
    let all = parse_args(&[]).unwrap();
    assert_eq!(all.coord.port(), 7779);
    assert_eq!(all.coord.remote_host(), None);
    assert_eq!((&all.checkpoint.ckptdir, all.checkpoint.compression(), all.checkpoint.pause), (&None, None, None));
    assert_eq!((all.checkpoint.keep, all.checkpoint.quiet, all.checkpoint.interval), (None, false, None));
}

#[test]
fn short_h_is_the_host_and_help_is_long() {
    let all = parse_args(&["-h", "far", "-p", "0", "-i", "5", "-q"]).unwrap();
    assert_eq!(all.coord.remote_host(), Some("far"));
    assert_eq!((all.coord.port(), all.checkpoint.interval, all.checkpoint.quiet), (0, Some(5), true));
    let help = parse_args(&["--help"]).unwrap_err();
    assert!(matches!(help, BadOptions::Clap(error) if error.kind() == ErrorKind::DisplayHelp));
}

#[test]
fn names_of_this_host_are_local() {
    for host in ["localhost", "127.0.0.1", "::1", &crate::host_name()] {
        assert_eq!(parse_args(&["-h", host]).unwrap().coord.remote_host(), None);
    }
}

#[test]
fn gzip_aliases() {
    assert_eq!(parse_args(&["--gzip"]).unwrap().checkpoint.compression(), Some(Compression::Gzip));
    assert_eq!(parse_args(&["--no-gzip"]).unwrap().checkpoint.compression(), Some(Compression::None));
    assert_eq!(parse_args(&["--compress", "zstd"]).unwrap().checkpoint.compression(), Some(Compression::Zstd));
    assert!(parse_args(&["--gzip", "--no-gzip"]).is_err());
    assert_eq!(parse_args(&["--gzip", "--compress", "lz4"]).unwrap().checkpoint.compression(), Some(Compression::Gzip));
}

#[test]
fn coordinator_modes_exclude_each_other() {
    assert!(parse_args(&["--new-coordinator", "--join-coordinator"]).is_err());
    assert!(parse_args(&["--any-coordinator", "--join-coordinator"]).is_err());
    assert!(parse_args(&["--new-coordinator"]).unwrap().join.new_coordinator);
}

#[test]
fn signals_by_number_and_name() {
    let signal = |text| parse_args(&["--ckpt-signal", text]).map(|all| all.checkpoint.ckpt_signal.unwrap());
    assert_eq!(signal("12").unwrap(), 12);
    assert_eq!(signal("SIGUSR2").unwrap(), libc::SIGUSR2);
    assert_eq!(signal("RTMAX-1").unwrap(), libc::SIGRTMAX() - 1);
    for bad in ["9", "KILL", "0", "65", "33", "many", "SEGV"] {
        assert!(signal(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_option_is_in_the_table() {
    let table = include_str!("../../docs/OPTIONS.md");
    let programs: [(&str, clap::Command); 3] = [
        ("L", <Everything as clap::CommandFactory>::command()),
        ("C", <crate::server::Settings as clap::CommandFactory>::command()),
        ("M", <crate::command::Options as clap::CommandFactory>::command()),
    ];
    for (program, command) in programs {
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            let named = [format!("`--{long}`"), format!("`--{long} "), format!("`--{long}[")];
            let of_program = |row: &&str| {
                let mut cells = row.split('|').skip(1);
                let (option, programs) = (cells.next().unwrap_or(""), cells.next().unwrap_or(""));
                let spelled = option.replace(", ", "`, `").replace("``", "`");
                named.iter().any(|name| spelled.contains(name)) && programs.split_whitespace().any(|one| one == program)
            };
            let row = table.lines().find(of_program).unwrap_or_else(|| panic!("--{long} of {program} has no row"));
            let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
            assert!(variable.is_none_or(|name| row.contains(&name)), "--{long}: {row}");
        }
    }
}
