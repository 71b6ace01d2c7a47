//! The records memfd of a process, parsed.

use ckpt_sys::flat::{FdEntry, MqAsked, Pending, ProcessRecord, RecordHead, RangePolicy, SemUndo, SigAction, SysvHeld, ThreadRecord, Timer, from_bytes, record};
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;

#[derive(Default)]
pub struct Records {
    pub process: ProcessRecord,
    pub threads: Vec<ThreadRecord>,
    pub sigactions: Vec<SigAction>,
    pub pendings: Vec<Pending>,
    pub timers: Vec<Timer>,
    pub maps: Vec<u8>,
    pub stat: Vec<u8>,
    pub auxv: Vec<u8>,
    pub sysv: Vec<SysvHeld>,
    pub undo: Vec<SemUndo>,
    pub mq_asked: Vec<MqAsked>,
    pub policies: Vec<RangePolicy>,
    /// It is confined by Landlock.
    pub landlock: bool,
    /// It has segments of its own.
    pub segments: bool,
    /// It has a keyring of its own.
    pub keyring: bool,
    pub fds: Vec<(FdEntry, OwnedFd)>,
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a record from the process is damaged")
}

impl Records {
    pub fn read(memfd: OwnedFd) -> io::Result<Records> {
        let mut bytes = Vec::new();
        let mut file = std::fs::File::from(memfd);
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        let mut out = Records::default();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let head: RecordHead = from_bytes(rest).ok_or_else(damaged)?;
            let body = rest.get(8..8 + head.len as usize).ok_or_else(damaged)?;
            out.take(head.kind, body)?;
            rest = &rest[8 + head.len as usize..];
        }
        Ok(out)
    }

    fn take(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        match kind {
            record::PROCESS => self.process = from_bytes(body).ok_or_else(damaged)?,
            record::THREAD => self.threads.push(from_bytes(body).ok_or_else(damaged)?),
            record::SIGACTIONS => {
                self.sigactions = body.chunks_exact(size_of::<SigAction>()).filter_map(from_bytes).collect();
            }
            record::PENDING => self.pendings.push(from_bytes(body).ok_or_else(damaged)?),
            record::TIMER => self.timers.push(from_bytes(body).ok_or_else(damaged)?),
            record::MAPS => self.maps = body.to_vec(),
            record::STAT => self.stat = body.to_vec(),
            record::SYSV => self.sysv.push(from_bytes(body).ok_or_else(damaged)?),
            record::UNDO => self.undo.push(from_bytes(body).ok_or_else(damaged)?),
            record::MQ_ASKED => self.mq_asked.push(from_bytes(body).ok_or_else(damaged)?),
            record::LANDLOCK => self.landlock = true,
            record::SEGMENTS => self.segments = true,
            record::KEYRING => self.keyring = true,
            record::POLICY => self.policies.push(from_bytes(body).ok_or_else(damaged)?),
            record::AUXV => self.auxv = body.to_vec(),
            _ => return Err(damaged()),
        }
        Ok(())
    }
}
