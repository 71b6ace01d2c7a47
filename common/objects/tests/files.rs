//! Files, directories, devices, memfds.

mod common;
use common::*;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

fn link(fd: &OwnedFd) -> String {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

#[test]
fn a_file_keeps_offset_and_flags() {
    let _turn = turn();
    let folder = Folder::new("plain");
    fs::write(folder.path("f"), b"0123456789").unwrap();
    let mut f = OpenOptions::new()
        .read(true)
        .append(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(folder.path("f"))
        .unwrap();
    f.seek(SeekFrom::Start(4)).unwrap();
    let flags = fcntl(&f, libc::F_GETFL, 0);
    let (new, _, _) = cycle(vec![f.into()]);
    let mut f = file(new.into_iter().next().unwrap());
    assert_eq!(fcntl(&f, libc::F_GETFL, 0), flags);
    let mut rest = String::new();
    f.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "456789");
}

#[test]
fn duplicates_share_an_offset_and_opens_do_not() {
    let _turn = turn();
    let folder = Folder::new("shared");
    fs::write(folder.path("f"), b"0123456789").unwrap();
    let a = File::open(folder.path("f")).unwrap();
    let b = a.try_clone().unwrap();
    let c = File::open(folder.path("f")).unwrap();
    let (new, set, _) = cycle(vec![a.into(), b.into(), c.into()]);
    assert_eq!(set.objects.len(), 2);
    let mut new = new.into_iter().map(file);
    let (mut a, mut b, mut c) = (new.next().unwrap(), new.next().unwrap(), new.next().unwrap());
    a.seek(SeekFrom::Start(7)).unwrap();
    assert_eq!(b.stream_position().unwrap(), 7);
    assert_eq!(c.stream_position().unwrap(), 0);
}

#[test]
fn a_deleted_file_comes_back_without_a_name() {
    let _turn = turn();
    let folder = Folder::new("deleted");
    let path = folder.path("gone");
    let mut f = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    f.set_len(8 << 20).unwrap();
    f.write_at(&pattern(70_000, 1), 3 << 20).unwrap();
    f.seek(SeekFrom::Start(3 << 20)).unwrap();
    let second = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let (set, blobs) = checkpoint(&[f.as_raw_fd(), second.as_raw_fd()]);
    assert!(blobs.0.len() < 200_000, "a hole was saved: {}", blobs.0.len());
    let numbers = [f.as_raw_fd(), second.as_raw_fd()];
    drop((f, second));
    let rebuilt = restart(&set, &blobs);
    assert!(!path.exists());
    let first = at(&set, &rebuilt, numbers[0]);
    assert_eq!(link(&first), format!("{} (deleted)", path.display()));
    let mut f = file(first);
    let mut data = vec![0; 70_000];
    f.read_exact(&mut data).unwrap();
    assert_eq!(data, pattern(70_000, 1));
    assert_eq!(f.metadata().unwrap().len(), 8 << 20);
    f.write_at(b"seen", 0).unwrap();
    let mut seen = [0; 4];
    file(at(&set, &rebuilt, numbers[1]))
        .read_exact_at(&mut seen, 0)
        .unwrap();
    assert_eq!(&seen, b"seen");
}

#[test]
fn a_deleted_name_that_is_taken_is_left_alone() {
    let _turn = turn();
    let folder = Folder::new("taken");
    let path = folder.path("f");
    fs::write(&path, b"old").unwrap();
    let f = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"new").unwrap();
    let (new, _, _) = cycle(vec![f.into()]);
    let mut text = String::new();
    file(new.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "old");
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_name_that_only_looks_deleted() {
    let _turn = turn();
    let folder = Folder::new("looks");
    let path = folder.path("x (deleted)");
    fs::write(&path, b"here").unwrap();
    let f = File::open(&path).unwrap();
    let (new, set, _) = cycle(vec![f.into()]);
    assert!(set.deleted.is_empty());
    assert_eq!(link(&new[0]), path.to_string_lossy());
}

#[test]
fn an_unlinked_hard_link_and_a_renamed_file() {
    let _turn = turn();
    let folder = Folder::new("links");
    fs::write(folder.path("a"), b"linked").unwrap();
    fs::hard_link(folder.path("a"), folder.path("b")).unwrap();
    let f = File::open(folder.path("a")).unwrap();
    fs::remove_file(folder.path("a")).unwrap();
    fs::write(folder.path("c"), b"moved").unwrap();
    let g = File::open(folder.path("c")).unwrap();
    fs::rename(folder.path("c"), folder.path("d")).unwrap();
    let (new, set, _) = cycle(vec![f.into(), g.into()]);
    assert!(set.deleted.is_empty());
    assert_eq!(link(&new[0]), folder.path("b").to_string_lossy());
    assert_eq!(link(&new[1]), folder.path("d").to_string_lossy());
}

#[test]
fn temporary_files_and_paths() {
    let _turn = turn();
    let folder = Folder::new("tmpfile");
    let flags = libc::O_TMPFILE | libc::O_EXCL;
    let mut f = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(&folder.0)
        .unwrap();
    f.write_all(b"nameless").unwrap();
    let p = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(&folder.0)
        .unwrap();
    let (new, _, _) = cycle(vec![f.into(), p.into()]);
    let mut new = new.into_iter();
    let mut f = file(new.next().unwrap());
    assert_eq!(f.stream_position().unwrap(), 8);
    f.rewind().unwrap();
    let mut text = String::new();
    f.read_to_string(&mut text).unwrap();
    assert_eq!(text, "nameless");
    let p = new.next().unwrap();
    assert_ne!(fcntl(&p, libc::F_GETFL, 0) & libc::O_PATH, 0);
    assert_eq!(link(&p), folder.0.to_string_lossy());
}

fn entries(fd: &OwnedFd, most: usize) -> Vec<u8> {
    let mut buffer = vec![0u8; most];
    // SAFETY: a buffer of the length given.
    let n = unsafe { libc::syscall(libc::SYS_getdents64, fd.as_raw_fd(), buffer.as_mut_ptr(), most) };
    buffer.truncate(n.max(0) as usize);
    buffer
}

#[test]
fn a_directory_goes_on_where_it_was() {
    let _turn = turn();
    let folder = Folder::new("dir");
    for i in 0..200 {
        fs::write(folder.path(&format!("entry-{i}")), b"").unwrap();
    }
    let dir: OwnedFd = File::open(&folder.0).unwrap().into();
    entries(&dir, 1024);
    let other: OwnedFd = File::open(&folder.0).unwrap().into();
    entries(&other, 1024);
    let expected = entries(&other, 4096);
    let (new, _, _) = cycle(vec![dir]);
    assert_eq!(entries(&new[0], 4096), expected);
}

#[test]
fn devices() {
    let _turn = turn();
    let open = |name: &str| -> OwnedFd { OpenOptions::new().read(true).write(true).open(name).unwrap().into() };
    let (new, _, _) = cycle(vec![open("/dev/null"), open("/dev/zero"), open("/dev/urandom")]);
    assert_eq!(read(&new[0], 4).unwrap(), b"");
    assert_eq!(read(&new[1], 4).unwrap(), [0; 4]);
    assert_eq!(read(&new[2], 4).unwrap().len(), 4);
}

fn memfd(name: &std::ffi::CStr, flags: u32) -> OwnedFd {
    // SAFETY: a NUL-terminated name.
    own(unsafe { libc::memfd_create(name.as_ptr(), flags) })
}

#[test]
fn a_memfd_keeps_name_content_and_seals() {
    let _turn = turn();
    let fd = memfd(c"the name", libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC);
    let f = file(fd);
    f.set_len(16 << 20).unwrap();
    f.write_at(&pattern(100_000, 2), 5 << 20).unwrap();
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    fcntl(&f, libc::F_ADD_SEALS, seals);
    let second = File::open(format!("/proc/self/fd/{}", f.as_raw_fd())).unwrap();
    let inode = f.metadata().unwrap();
    let (new, set, _) = cycle(vec![f.into(), second.into()]);
    assert!(set.inode_object(inode.dev(), inode.ino()).is_some());
    assert_eq!(link(&new[0]), "/memfd:the name (deleted)");
    assert_eq!(fcntl(&new[0], libc::F_GET_SEALS, 0), seals);
    let (a, b) = (file(dup(new[0].as_raw_fd())), file(dup(new[1].as_raw_fd())));
    let mut data = vec![0; 100_000];
    b.read_exact_at(&mut data, 5 << 20).unwrap();
    assert_eq!(data, pattern(100_000, 2));
    assert_eq!(a.metadata().unwrap().ino(), b.metadata().unwrap().ino());
}

#[test]
fn a_path_is_mapped() {
    let _turn = turn();
    let old = Folder::new("old");
    let new = Folder::new("new");
    fs::write(old.path("f"), b"old").unwrap();
    fs::write(new.path("f"), b"new").unwrap();
    let f = File::open(old.path("f")).unwrap();
    let (set, blobs) = checkpoint(&[f.as_raw_fd()]);
    let map = vec![(old.0.clone(), new.0.clone())];
    let rebuilt = try_restart(&set, &blobs, map).unwrap();
    assert_eq!(
        link(&at(&set, &rebuilt, f.as_raw_fd())),
        new.path("f").to_string_lossy()
    );
}

#[test]
fn what_changed_is_said_before() {
    let _turn = turn();
    let folder = Folder::new("preflight");
    fs::write(folder.path("changed"), b"12345").unwrap();
    fs::write(folder.path("missing"), b"12345").unwrap();
    let a = File::open(folder.path("changed")).unwrap();
    let b = File::open(folder.path("missing")).unwrap();
    let (set, _) = checkpoint(&[a.as_raw_fd(), b.as_raw_fd()]);
    assert!(ckpt_objects::preflight(&set, &Default::default()).is_empty());
    fs::write(folder.path("changed"), b"123456").unwrap();
    fs::remove_file(folder.path("missing")).unwrap();
    let problems = ckpt_objects::preflight(&set, &Default::default());
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(problems[0].severity, ckpt_objects::Severity::Risk);
    assert_eq!(problems[1].severity, ckpt_objects::Severity::Fatal);
}

#[test]
fn what_cannot_be_saved_is_named() {
    let _turn = turn();
    let flags = libc::O_CLOEXEC | 1;
    // SAFETY: UFFD_USER_MODE_ONLY, no memory involved.
    let fd = own(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) } as i32);
    let error = try_checkpoint(&[fd.as_raw_fd()]).err().unwrap().to_string();
    assert!(
        error.contains(&format!("descriptor {}", fd.as_raw_fd())) && error.contains("userfaultfd"),
        "{error}"
    );
}

#[test]
fn locks_are_taken_again() {
    let _turn = turn();
    let folder = Folder::new("locks");
    let open = |name: &str| {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.path(name))
            .unwrap()
    };
    let (a, b) = (open("flock"), open("ofd"));
    // SAFETY: no memory involved.
    assert_eq!(unsafe { libc::flock(a.as_raw_fd(), libc::LOCK_EX) }, 0);
    let lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: 0,
        l_start: 10,
        l_len: 5,
        l_pid: 0,
    };
    // SAFETY: a filled struct.
    assert_eq!(unsafe { libc::fcntl(b.as_raw_fd(), libc::F_OFD_SETLK, &lock) }, 0);
    let (new, set, _) = cycle(vec![a.into(), b.into()]);
    assert_eq!(set.objects[1].ofd_locks.len(), 1);
    let other = open("flock");
    // SAFETY: no memory involved.
    let done = unsafe { libc::flock(other.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    assert_eq!(done, -1);
    let mut probe = lock;
    // SAFETY: a struct that the kernel fills.
    let done = unsafe { libc::fcntl(open("ofd").as_raw_fd(), libc::F_OFD_GETLK, &mut probe) };
    assert_eq!(done, 0);
    assert_eq!(
        (probe.l_type, probe.l_start, probe.l_len),
        (libc::F_WRLCK as i16, 10, 5)
    );
    drop(new);
}

#[test]
fn saved_content_comes_back_where_it_is_gone_or_changed() {
    let _turn = turn();
    let folder = Folder::new("saved");
    fs::create_dir(folder.path("sub")).unwrap();
    let names = ["changed", "sub/gone", "same"];
    let mut files = Vec::new();
    for name in names {
        fs::write(folder.path(name), format!("content of {name}")).unwrap();
        files.push(OwnedFd::from(OpenOptions::new().read(true).write(true).open(folder.path(name)).unwrap()));
    }
    let again = OwnedFd::from(File::open(folder.path("sub/gone")).unwrap());
    let numbers: Vec<i32> = files.iter().chain([&again]).map(|f| f.as_raw_fd()).collect();
    let (set, blobs) = checkpoint_with(&numbers, true).unwrap();
    fs::write(folder.path("changed"), "something else").unwrap();
    fs::remove_dir_all(folder.path("sub")).unwrap();
    let before = fs::metadata(folder.path("same")).unwrap();
    let said = ckpt_objects::preflight(&set, &Default::default());
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|p| p.severity == ckpt_objects::Severity::Risk && p.what.contains("put back")));
    let _rebuilt = restart(&set, &blobs);
    for name in names {
        assert_eq!(fs::read_to_string(folder.path(name)).unwrap(), format!("content of {name}"));
    }
    assert_eq!(fs::metadata(folder.path("same")).unwrap().ino(), before.ino());
}
