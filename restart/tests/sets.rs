//! ckpt_restart and ckpt_inspect on the stored images of tests/fixtures: this release reads them; whatever is wrong with
//! one, or with a set of them, is said by name before anything is started.

use ckpt_sys::crc::crc32c;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ALL: [&str; 13] = [
    "plain", "lz4", "zstd", "gzip", "sealed", "incremental-1", "incremental-2", "sealed-chain-1", "sealed-chain-2", "pair-1",
    "pair-2", "pair-3", "pair-4",
];

fn stored(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/fixtures/{name}.img"))
}

/// A folder with copies of stored images.
struct Folder(PathBuf);

impl Folder {
    fn of(test: &str, names: &[&str]) -> Folder {
        let path = std::env::temp_dir().join(format!("ckpt-sets-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        for name in names {
            fs::copy(stored(name), path.join(format!("{name}.img"))).unwrap();
        }
        fs::write(path.join("key"), "5a".repeat(32)).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path.join("key"), private).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.img"))
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(name)).unwrap();
        change(&mut bytes);
        fs::write(self.path(name), bytes).unwrap();
    }

    fn run(&self, program: &str, names: &[&str], options: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.env_remove("XDG_RUNTIME_DIR").args(options).args(names.iter().map(|n| self.path(n)));
        command.current_dir(&self.0).output().unwrap()
    }

    fn inspect(&self, names: &[&str]) -> Output {
        self.run(env!("CARGO_BIN_EXE_ckpt_inspect"), names, &["--verify", "--encrypt-key-file", "key"])
    }

    /// What ckpt_restart says; it has started nothing, not even a coordinator.
    fn refused(&self, names: &[&str]) -> String {
        let dir = self.0.display().to_string();
        let options = ["--coord-port", "47999", "--new-coordinator", "--tmpdir", &dir, "--encrypt-key-file", "key"];
        let output = self.run(env!("CARGO_BIN_EXE_ckpt_restart"), names, &options);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let left: Vec<_> = fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name()).filter(|n| n.to_string_lossy().starts_with("ckpt-")).collect();
        assert!(left.is_empty(), "a coordinator was started: {left:?}");
        said
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn this_release_reads_every_stored_image() {
    let folder = Folder::of("all", &ALL);
    let output = folder.inspect(&ALL);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches(": OK").count(), ALL.len(), "{said}");
    // A restart goes as far as looking for the program's own file.
    for name in ["plain", "zstd", "sealed", "incremental-2"] {
        let names: &[&str] = if name == "incremental-2" { &["incremental-1", name] } else { &[name] };
        let said = folder.refused(names);
        assert!(said.contains("/tmp/ckpt-fixtures/tiny") && said.contains("nothing was started"), "{name}: {said}");
    }
}

/// The header says another version, and its checksum is right.
fn claim(bytes: &mut [u8], version: u32) {
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn other_versions_are_refused_by_name() {
    let folder = Folder::of("version", &["zstd"]);
    folder.change("zstd", |bytes| claim(bytes, ckpt_image::VERSION + 1));
    let said = folder.refused(&["zstd"]);
    assert!(said.contains("zstd.img: written by a newer ckpt (image version "), "{said}");
    folder.change("zstd", |bytes| claim(bytes, 0));
    let said = folder.refused(&["zstd"]);
    assert!(said.contains("zstd.img: of image version 0, which this ckpt does not read any more"), "{said}");
}

#[test]
fn a_damaged_image_is_named() {
    type Change = fn(&mut Vec<u8>);
    let places: [(&str, Change); 7] = [
        ("cut", |b| b.truncate(b.len() / 2)),
        ("a byte short", |b| b.truncate(b.len() - 1)),
        ("a byte more", |b| b.push(0)),
        ("empty", |b| b.clear()),
        ("its header", |b| b[60] ^= 1),
        ("its memory", |b| b[4096 + 10] ^= 1),
        ("its metadata", |b| *b.last_mut().unwrap() ^= 1),
    ];
    for name in ["plain", "zstd", "sealed"] {
        for (what, change) in places {
            let folder = Folder::of("damaged", &[name]);
            folder.change(name, change);
            for said in [folder.refused(&[name]), String::from_utf8_lossy(&folder.inspect(&[name]).stderr).into_owned()] {
                assert!(said.contains(&format!("{name}.img: ")), "{name}, {what}: {said}");
            }
        }
    }
}

#[test]
fn what_is_no_image_of_ours_is_named() {
    let folder = Folder::of("foreign", &["zstd"]);
    folder.change("zstd", |bytes| *bytes = b"\x7fELF and so on".to_vec());
    assert!(folder.refused(&["zstd"]).contains("zstd.img: not a ckpt image"));
    let folder = Folder::of("machine", &["zstd"]);
    folder.change("zstd", |bytes| {
        bytes[16..20].copy_from_slice(&183u32.to_le_bytes());
        claim(bytes, ckpt_image::VERSION);
    });
    assert!(folder.refused(&["zstd"]).contains("zstd.img: made on another kind of machine"));
}

/// pair-1 and -2 are the members of the first checkpoint, pair-3 and -4 of the second.
#[test]
fn a_set_that_is_not_one_checkpoint_is_refused() {
    let folder = Folder::of("sets", &["pair-1", "pair-2", "pair-3", "pair-4"]);
    for set in [&["pair-3"][..], &["pair-1"], &["pair-1", "pair-4"], &["pair-2", "pair-3"]] {
        let said = folder.refused(set);
        assert!(said.contains("is incomplete: member ") && said.contains("give all images of a generation"), "{set:?}: {said}");
    }
    // Under the other's name it is still what it is.
    fs::rename(folder.path("pair-2"), folder.path("x")).unwrap();
    fs::rename(folder.path("pair-4"), folder.path("pair-2")).unwrap();
    fs::rename(folder.path("x"), folder.path("pair-4")).unwrap();
    assert!(folder.refused(&["pair-1", "pair-2"]).contains("is incomplete"));
    // A glob over all takes the newest that is whole.
    folder.change("pair-4", |bytes| bytes.truncate(bytes.len() - 1));
    let said = folder.refused(&["pair-1", "pair-2", "pair-3", "pair-4"]);
    assert!(said.contains("pair-4.img: truncated") && said.contains("nothing was started"), "{said}");
}

#[test]
fn a_chain_becomes_one_image_encrypted_or_not() {
    for chain in ["incremental", "sealed-chain"] {
        let (first, second) = (format!("{chain}-1"), format!("{chain}-2"));
        let folder = Folder::of(&format!("one-{chain}"), &[&first, &second]);
        let consolidate = ["--consolidate", "whole.img", "--encrypt-key-file", "key"];
        let output = folder.run(env!("CARGO_BIN_EXE_ckpt_inspect"), &[&second], &consolidate);
        assert!(output.status.success(), "{chain}: {}", String::from_utf8_lossy(&output.stderr));
        fs::remove_file(folder.path(&first)).unwrap();
        let output = folder.inspect(&["whole"]);
        assert!(output.status.success(), "{chain}: {}", String::from_utf8_lossy(&output.stderr));
        let keyless = folder.run(env!("CARGO_BIN_EXE_ckpt_inspect"), &["whole"], &["--verify"]);
        assert_eq!(keyless.status.success(), chain == "incremental", "an encrypted image stays one");
    }
}

#[test]
fn an_incremental_image_needs_the_one_it_builds_on() {
    let folder = Folder::of("chain", &["incremental-1", "incremental-2"]);
    fs::rename(folder.path("incremental-1"), folder.0.join("elsewhere")).unwrap();
    let said = folder.refused(&["incremental-2"]);
    assert!(said.contains("incremental-2.img: holds only what changed since generation 1"), "{said}");
    fs::copy(stored("zstd"), folder.path("incremental-1")).unwrap();
    assert!(folder.refused(&["incremental-2"]).contains("whose image is missing or another one"));
}

/// One run says all of it; --force is for risks alone.
#[test]
fn what_stands_in_the_way_is_listed_together() {
    let folder = Folder::of("listed", &["plain"]);
    fs::set_permissions(folder.path("plain"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let said = folder.refused(&["plain"]);
    for what in ["risk: ", "others may write to it", "/tmp/ckpt-fixtures/tiny: the program's file is gone", "the working directory is missing"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let options = ["--coord-port", "47998", "--new-coordinator", "--tmpdir", ".", "--force"];
    let forced = folder.run(env!("CARGO_BIN_EXE_ckpt_restart"), &["plain"], &options);
    let said = String::from_utf8_lossy(&forced.stderr);
    assert!(forced.status.code() == Some(1) && said.contains("nothing was started; put right what is listed above"), "{said}");
}
