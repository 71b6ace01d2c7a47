//! One module per kind of object: its state, how it is captured, rebuilt and refilled.

mod attributes;
pub mod epoll;
pub mod eventfd;
pub mod file;
pub mod inherited;
pub mod inotify;
pub mod memfd;
pub mod messages;
pub mod mqueue;
pub mod multicast;
pub mod netlink;
pub mod outer;
pub mod packet;
pub mod packetdiag;
pub mod pidfd;
pub mod pipe;
pub mod procfile;
pub mod pty;
pub mod ptydata;
pub mod reopen;
pub mod signalfd;
pub mod tcp;
pub mod tcpbacklog;
pub mod tcpdata;
pub mod tcpdiag;
pub mod tcpend;
pub mod tcprebuild;
pub mod timerfd;
pub mod udp;
pub mod udpgroup;
pub mod udphold;
pub mod unix;
pub mod unixbacklog;
pub mod unixdial;
pub mod unixqueue;
pub mod unixrebuild;

use crate::probe::Probe;

/// How data that is in the object at the checkpoint is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight {
    /// Nothing is in flight, or all of it is state that can be read.
    State,
    /// Read without taking it out.
    Peek,
    /// Taken out and put back, also when something fails in between.
    DrainRefill,
    /// Not saved; said as a risk.
    Lost,
}

/// What the recogniser made of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    File,
    Directory,
    ProcFile,
    Reopen,
    Memfd,
    Pipe,
    Eventfd,
    Timerfd,
    Signalfd,
    Epoll,
    Inotify,
    Pidfd,
    Socket,
    PtyMaster,
    PtySlave,
    Terminal,
    Mqueue,
    Refused(&'static str),
}

impl Class {
    pub fn in_flight(self) -> InFlight {
        match self {
            Class::Pipe => InFlight::Peek,
            Class::Socket | Class::PtyMaster | Class::PtySlave | Class::Mqueue => InFlight::DrainRefill,
            Class::Inotify => InFlight::Lost,
            _ => InFlight::State,
        }
    }
}

const MQUEUE_MAGIC: i64 = 0x1980_0202;

pub fn recognise(probe: &Probe) -> Class {
    if procfile::pid_of(&probe.link).is_some() {
        return Class::ProcFile;
    }
    if probe.link == b"/" && crate::sys::stat("/".as_ref()).is_ok_and(|s| (s.st_dev, s.st_ino) != (probe.stat.st_dev, probe.stat.st_ino)) {
        return Class::Refused("it is a mount that is attached nowhere, which cannot be made again; attach or close it");
    }
    if probe.flags & libc::O_PATH != 0 {
        return Class::Reopen;
    }
    if let Some(name) = probe.anon() {
        return anonymous(&name);
    }
    if probe.link.starts_with(b"pidfd:") {
        return Class::Pidfd;
    }
    match probe.file_type() {
        libc::S_IFREG => regular(probe),
        libc::S_IFDIR => Class::Directory,
        libc::S_IFIFO => Class::Pipe,
        libc::S_IFSOCK => Class::Socket,
        libc::S_IFCHR => character_device(probe),
        libc::S_IFBLK => Class::File,
        _ => Class::Refused("this kind of file is not known"),
    }
}

fn anonymous(name: &str) -> Class {
    match name {
        "eventfd" => Class::Eventfd,
        "timerfd" => Class::Timerfd,
        "signalfd" => Class::Signalfd,
        "eventpoll" => Class::Epoll,
        "inotify" => Class::Inotify,
        "pidfd" => Class::Pidfd,
        "io_uring" => Class::Refused("an io_uring has requests in the kernel that cannot be read back"),
        "userfaultfd" => Class::Refused("the ranges of a userfaultfd cannot be read back"),
        "perf_event" => Class::Refused("performance counters cannot be read back"),
        "fanotify" => Class::Refused("fanotify marks need their permission events answered"),
        "seccomp notify" => Class::Refused("a seccomp listener holds calls of other processes"),
        "bpf-map" | "bpf-prog" | "bpf_link" | "btf" => Class::Refused("bpf objects cannot be read back"),
        "landlock-ruleset" => Class::Refused("the rules of a Landlock ruleset cannot be read back"),
        "fscontext" => Class::Refused("a mount that is being made (fsopen) cannot be read back"),
        "dmabuf" | "sync_file" => Class::Refused("buffers of a device need its own plugin"),
        _ if name.starts_with("kvm") => Class::Refused("the state of a virtual machine is in the kernel"),
        _ => Class::Refused("this anonymous kernel object is not known"),
    }
}

fn regular(probe: &Probe) -> Class {
    if probe.link.starts_with(b"/memfd:") {
        return Class::Memfd;
    }
    if probe.link.starts_with(b"/dmabuf:") {
        return Class::Refused("buffers of a device need its own plugin");
    }
    if probe.link.starts_with(b"/secretmem") {
        return Class::Refused("secret memory (memfd_secret) cannot be read by anybody else");
    }
    if [
        "net:[", "mnt:[", "uts:[", "ipc:[", "pid:[", "user:[", "cgroup:[", "time:[",
    ]
    .iter()
    .any(|prefix| probe.link.starts_with(prefix.as_bytes()))
    {
        return Class::Reopen;
    }
    if crate::sys::fs_magic(probe.fd).unwrap_or(0) == MQUEUE_MAGIC {
        return Class::Mqueue;
    }
    Class::File
}

fn character_device(probe: &Probe) -> Class {
    let (major, minor) = (libc::major(probe.stat.st_rdev), libc::minor(probe.stat.st_rdev));
    match (major, minor) {
        (5, 2) => Class::PtyMaster,
        (136..=143, _) => Class::PtySlave,
        (5, 0 | 1) | (4, _) | (229, _) | (204, _) => Class::Terminal,
        (1, 1) | (1, 2) | (1, 4) => Class::Refused("raw memory and ports cannot be restored"),
        (1, _) => Class::Reopen,
        (10, 229) => Class::Refused("a FUSE connection has requests in the kernel"),
        (10, 232) => Class::Refused("the state of a virtual machine is in the kernel"),
        (10, 200) => Class::Refused("a tun/tap interface belongs to the host's network"),
        (10, 235) => Class::Refused("autofs requests cannot be read back"),
        (10, 130 | 203 | 223 | 238 | 239 | 241) => Class::Refused("this device keeps state for whoever has it open, which cannot be read back"),
        (10, _) => Class::Reopen,
        (195, _) | (226, _) | (507..=511, _) => Class::Refused("GPU state needs its own plugin"),
        _ => Class::Refused("the state of this device cannot be read back"),
    }
}
