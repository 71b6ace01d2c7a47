//! All restorers have said that they are ready; then all may go.

use super::prepare::Prepared;
use super::{Rebuild, is_open};
use crate::lazy::{Filler, Share};
use crate::again::ID_TAKEN;
use crate::{feed, preflight};
use crate::ids::Ids;
use ckpt_agent::launch::Failure;
use ckpt_agent::link::{Link, Packet, poll};
use ckpt_agent::requests::TOLD_RESTART;
use ckpt_agent::{passes, procfs};
use ckpt_image::{ProcessMeta, RunState};
use ckpt_objects::ipc::Restored;
use ckpt_objects::kinds::outer;
use ckpt_sys::fault::Stage;
use ckpt_sys::flat::msg;
use ckpt_sys::idtable::VirtualPid;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A callback may take 10 s (docs/PLUGINS.md), then its process is signalled once a second, and leaves it.
const CALLBACKS: Duration = Duration::from_secs(10);
/// When that has not helped, and for how many callbacks one after the other is waited.
const GIVE_UP: Duration = Duration::from_secs(35);

impl Rebuild<'_> {
    /// All restorers say that they are ready; then all may go. Our attachments of `sysv` would be counted with the program's.
    pub(super) fn wait_restored(&self, prepared: &mut [Prepared], sysv: Vec<Restored>) -> Result<(), Failure> {
        for p in prepared.iter_mut() {
            drop((p.theirs.take(), p.plan.take(), std::mem::take(&mut p.images), p.exe_named.take(), std::mem::take(&mut p.takes)));
        }
        let mut filler = self.filler(prepared)?;
        passes(Stage::Restore)?;
        let over = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            let fed: Vec<_> = prepared.iter().filter_map(|p| Some((self.chain(p)?, p.feed.as_ref()?))).collect();
            if !fed.is_empty() {
                scope.spawn(move || feed::serve(&fed, over));
            }
            let all = &*prepared;
            let restored = all.iter().filter(|p| p.link.is_some()).try_for_each(|p| self.wait_one(p, all, &mut filler));
            over.store(restored.is_err(), Relaxed);
            restored
        })?;
        if let Some(filler) = filler {
            let (helper, held) = filler.close()?;
            self.agent.filling.begin(helper, held);
        }
        self.stop_again(prepared)?;
        self.loosened.borrow_mut().put_back();
        passes(Stage::Barrier)?;
        prepared.iter().for_each(|p| self.note_start(self.process(p)));
        drop(sysv);
        self.give_foreground();
        for p in prepared.iter() {
            let Some(link) = &p.link else { continue };
            // One that runs already may have killed it.
            let _ = link.send(msg::GO);
            if self.in_foreground(p) {
                // The terminal may have another size, and shows nothing of the program yet.
                // SAFETY: numbers only.
                unsafe { libc::kill(self.real(self.process(p).pid), libc::SIGWINCH) };
            }
        }
        self.hear_callbacks(prepared);
        Ok(())
    }

    /// Processes with callbacks for it say when those have been told of the restart: they run from then on.
    fn hear_callbacks(&self, prepared: &[Prepared]) {
        // Of those that share their memory one tells.
        let tells = |&(i, meta): &(usize, &ProcessMeta)| {
            let wants = meta.body.as_ref().is_some_and(|body| body.record.0.wants_restart != 0);
            wants && self.family.owns_memory(i) && meta.state != RunState::Stopped
        };
        let metas = prepared.iter().map(|p| self.process(p)).enumerate().filter(tells);
        let mut waiting: Vec<(i32, &ProcessMeta)> = metas.map(|(_, meta)| (self.real(meta.pid), meta)).collect();
        let begun = Instant::now();
        let mut signalled = begun + CALLBACKS;
        while !waiting.is_empty() && begun.elapsed() < GIVE_UP {
            let _ = poll(&[self.agent.listener.fd.as_raw_fd()], Duration::from_millis(100));
            let told = self.agent.listener.hear();
            self.agent.with_events(|events| events.heard(&told));
            let is_gone = |pid: i32| procfs::stat(pid).is_none_or(|s| matches!(s.state, 'Z' | 'X'));
            waiting.retain(|&(pid, _)| !told.iter().any(|one| one.pid == pid && one.event == TOLD_RESTART) && !is_gone(pid));
            if Instant::now() > signalled + Duration::from_secs(1) {
                signalled = Instant::now();
                for &(pid, _) in &waiting {
                    // SAFETY: numbers only.
                    unsafe { libc::kill(pid, self.agent.settings.signal) };
                }
            }
        }
        for (_, meta) in waiting {
            let (pid, name) = (meta.pid, &meta.name);
            eprintln!("ckpt_restart: process {pid} ({name}): a callback for restart does not return and cannot be interrupted; the process runs when it does");
        }
    }

    /// Processes that were stopped stop in the restorer and go on from there with SIGCONT; their parents hear of it
    /// only if they had not before.
    fn stop_again(&self, prepared: &[Prepared]) -> Result<(), Failure> {
        let patience = self.options.patience();
        let stopped = || prepared.iter().map(|p| self.process(p)).filter(|meta| meta.state == RunState::Stopped);
        for meta in stopped() {
            let pid = self.shared_ids.table.to_real(VirtualPid(self.known.program_id(meta.pid))).0;
            // SAFETY: numbers only.
            unsafe { libc::kill(pid, libc::SIGSTOP) };
            ckpt_agent::procfs::await_stop(pid);
        }
        for p in prepared.iter().filter(|p| stopped().any(|kid| kid.ppid == self.process(p).pid)) {
            // One that is stopped itself looks when it is continued.
            if let Some(link) = p.link.as_ref() {
                link.send(msg::SETTLE)?;
                if self.process(p).state != RunState::Stopped {
                    link.recv_within(patience).map_err(|_| self.not_restored(p, patience))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn real(&self, then: i32) -> i32 {
        self.shared_ids.table.to_real(VirtualPid(self.known.program_id(then))).0
    }

    /// The program knows it by when it began, too.
    fn note_start(&self, meta: &ProcessMeta) {
        let real = self.real(meta.pid);
        if let Some(stat) = procfs::stat(real).filter(|_| meta.started > 0) {
            self.shared_ids.table.starts.note(real, stat.field(22), meta.started);
        }
    }

    /// A job of the program's that had the terminal has it again.
    fn give_foreground(&self) {
        for m in self.members {
            let Some(terminal) = &m.meta.objects.terminal else { continue };
            if m.meta.processes.iter().any(|p| p.pid == terminal.foreground) {
                outer::give_foreground(&[0, 1, 2].map(|fd| is_open(fd).then_some(fd)), self.real(terminal.foreground));
            }
        }
    }

    fn in_foreground(&self, p: &Prepared) -> bool {
        let terminal = &self.members[p.member].meta.objects.terminal;
        terminal.as_ref().is_some_and(|t| t.foreground == self.process(p).pgid)
    }

    /// The helper that fills memory later; None: all is there at the start.
    fn filler(&self, prepared: &[Prepared]) -> Result<Option<Filler>, Failure> {
        let shares: Vec<&Share> = prepared.iter().filter_map(|p| p.share.as_ref()).collect();
        if shares.is_empty() { Ok(None) } else { Ok(Some(Filler::start(self.members, &shares)?)) }
    }

    /// The next word of one process. It may be waiting for another one, which has ended.
    fn hear(&self, p: &Prepared, link: &Link, all: &[Prepared]) -> Result<io::Result<Packet>, Failure> {
        let patience = self.options.patience_with_memory(preflight::needed(self.members));
        let end = Instant::now() + patience;
        loop {
            match link.recv_within(Duration::from_secs(1)) {
                Err(e) if e.kind() == io::ErrorKind::TimedOut && Instant::now() < end => {}
                Err(e) if e.kind() == io::ErrorKind::TimedOut => return Err(self.not_restored(p, patience)),
                heard => return Ok(heard),
            }
            if let Some((_, p)) = all.iter().enumerate().find(|(i, p)| p.link.is_some() && self.is_gone(*i)) {
                return Err(killed(self.process(p)));
            }
        }
    }

    fn not_restored(&self, p: &Prepared, patience: Duration) -> Failure {
        let meta = self.process(p);
        let state = procfs::stat(self.real(meta.pid)).map_or('?', |s| s.state);
        let hint = if state == 'T' { "it is stopped" } else { "--stage-timeout gives it longer" };
        Failure(format!("process {} ({}): not restored within {} s (state {state}); {hint}", meta.pid, meta.name, patience.as_secs()), 1)
    }

    /// Killed from outside. One that a restorer makes may not be there yet.
    pub(super) fn is_gone(&self, i: usize) -> bool {
        let (pid, made_later) = (self.family.process(i).pid, self.family.late()[i]);
        let real = self.real(pid);
        let unknown = made_later && self.ids == Ids::Virtual && real == self.known.program_id(pid);
        match procfs::stat(real) {
            Some(stat) => !unknown && procfs::has_ended(&stat),
            None => !made_later,
        }
    }

    fn wait_one(&self, p: &Prepared, all: &[Prepared], filler: &mut Option<Filler>) -> Result<(), Failure> {
        let meta = self.process(p);
        let Some(link) = &p.link else { return Ok(()) };
        let who = format!("process {} ({})", meta.pid, meta.name);
        match self.hear(p, link, all)? {
            Ok(packet) if packet.msg.kind == msg::RESTORED => {
                self.agent.with_events(|events| events.restarted(self.real(meta.pid)));
                Ok(())
            }
            Ok(packet) if packet.msg.kind == msg::LAZY => {
                if let (Some(filler), Some(uffd)) = (filler.as_mut(), packet.fds.into_iter().next()) {
                    let pid = self.shared_ids.table.to_real(VirtualPid(self.known.program_id(meta.pid))).0;
                    filler.add((p.member, p.process), pid, uffd)?;
                }
                self.wait_one(p, all, filler)
            }
            Ok(packet) => {
                let id_taken = matches!(packet.msg.stage, 29 | 30 | 33) && packet.msg.errno == libc::EEXIST;
                Err(Failure(format!("{who}: {}", explain(&packet.msg)), if id_taken { ID_TAKEN } else { 1 }))
            }
            Err(e) => Err(Failure(format!("{who}: its binary {} did not come up ({e})", p.exe.display()), 1)),
        }
    }
}

pub(super) fn killed(meta: &ProcessMeta) -> Failure {
    Failure(format!("process {} ({}): it was killed while it was restored", meta.pid, meta.name), 1)
}

fn explain(m: &ckpt_sys::flat::Msg) -> String {
    let step = match m.stage {
        20 => "no place for the restorer was found",
        21 => "the old address space could not be removed",
        22 => "the kernel's vdso could not be moved, or the old one not be passed on",
        23 => "a mapping could not be made",
        24 => "memory could not be read from the image",
        25 => "a protection could not be set",
        26 => "the address space could not be described to the kernel",
        28 => "a timer could not be made",
        29 => "a thread could not be made",
        30 => "user, groups or capabilities could not be set; restart as the user who launched it",
        32 => "memory could not be registered for --restore lazy; restart without it",
        33 => "a process or thread that shares memory or descriptors could not be made",
        31 => "a native AIO context could not be made; is fs.aio-max-nr reached?",
        _ => "its state could not be set",
    };
    format!("{step} ({}, at {:#x})", io::Error::from_raw_os_error(m.errno), m.arg)
}
