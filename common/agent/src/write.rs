//! From the frozen writers to the image.

use crate::codec::Packer;
use crate::lent::{Origin, Source, lock, read_remote, take};
use crate::{hands, limits};
use crate::link::Link;
use crate::pace;
use ckpt_image::{CHUNK, Codec, ImageWriter, Memory, at_line};
use ckpt_objects::BlobRef;
use ckpt_sys::flat::{Msg, Run, from_bytes, msg};
use ckpt_sys::sched::{Turn, step_back};
use ckpt_wire::Compression;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("process {pid}: writing its memory failed: {source}; free space or choose another --ckptdir")]
    Process { pid: i32, source: io::Error },
    #[error("process {pid}: its frozen copy was killed; is memory short? Try --pause hold")]
    Vanished { pid: i32 },
    #[error("{0}; free space or choose another --ckptdir")]
    Io(#[from] io::Error),
}

/// How long a writer may be silent: it scans or writes a whole process in between.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What is to be done with memory.
pub struct How {
    /// None: what is fastest
    codec: Option<Codec>,
    /// bytes per second
    pub disk: Option<u64>,
    /// the choice for the largest process
    chosen: Mutex<(u64, Option<String>)>,
}

impl How {
    pub fn fixed(compression: Compression) -> How {
        let codec = match compression {
            Compression::None => Some(Codec::None),
            Compression::Lz4 => Some(Codec::Lz4),
            Compression::Zstd => Some(Codec::Zstd),
            Compression::Gzip => Some(Codec::Gzip),
            Compression::Auto => None,
        };
        How { codec, disk: None, chosen: Mutex::new((0, None)) }
    }

    pub fn is_auto(&self) -> bool {
        self.codec.is_none()
    }

    /// Why it was done so.
    pub fn note(&self) -> Option<String> {
        self.chosen.lock().ok().and_then(|c| c.1.clone())
    }

    /// What the image says of memory that is still to be written: runs and guards, and how they will be stored.
    fn memory(&self, pid: i32, (runs, guards): (Ranges, Ranges), bytes: u64, image: &ImageWriter) -> Memory {
        let codec = match self.choose(pid, &runs, bytes) {
            // It cannot write plain bytes to the image itself.
            Codec::None if image.is_sealed() || !limits::writes_freely(pid) => Codec::Stored,
            codec => codec,
        };
        Memory { runs, guards, bytes, codec, pieces: Vec::new(), checksums: Vec::new(), kept: Vec::new() }
    }

    fn choose(&self, pid: i32, runs: &[(u64, u64)], bytes: u64) -> Codec {
        if let Some(codec) = self.codec {
            return codec;
        }
        let (codec, why) = pace::choose(pid, runs, self.disk);
        if let Ok(mut chosen) = self.chosen.lock() {
            if bytes > chosen.0 {
                *chosen = (bytes, why);
            }
        }
        codec
    }
}

pub struct Job<'a> {
    pub pid: i32,
    /// whose memory is written: the frozen copy's, or its own
    pub frozen: i32,
    pub writer: Option<&'a Link>,
    pub taken: Option<&'a Taken>,
}

/// Memory that was copied in the pause.
#[derive(Default)]
pub struct Taken {
    runs: Ranges,
    guards: Ranges,
    bytes: Vec<u8>,
}

impl Taken {
    /// From the stopped process itself, which then need not wait.
    pub fn from(pid: i32, writer: &Link) -> Result<Taken, WriteError> {
        let gone = |e| vanished(pid, e);
        let (runs, guards, len, _) = announced(pid, writer)?;
        let mut bytes = vec![0; len as usize];
        read_remote(pid, &runs, &mut bytes)?;
        writer.send(msg::DONE).map_err(gone)?;
        expect(pid, writer, msg::WRITTEN).map_err(|e| e.unwrap_or_else(gone))?;
        Ok(Taken { runs, guards, bytes })
    }

    fn write(&self, pid: i32, image: &ImageWriter, how: &How) -> Result<Memory, WriteError> {
        let bytes = self.bytes.len() as u64;
        let mut memory = how.memory(pid, (self.runs.clone(), self.guards.clone()), bytes, image);
        if memory.codec == Codec::None {
            let offset = image.reserve(bytes);
            image.file.write_all_at(&self.bytes, offset)?;
            image.write_back(offset, bytes);
            memory.pieces.push(BlobRef { offset, len: bytes });
            memory.checksums = self.bytes.chunks(CHUNK as usize).map(ckpt_sys::crc::crc32c).collect();
            return Ok(memory);
        }
        let (mut packer, mut turn) = (Packer::new(memory.codec)?, Turn::begin());
        for chunk in self.bytes.chunks(CHUNK as usize) {
            let (piece, crc) = image.append(&packer.pack(chunk)?)?;
            memory.pieces.push(piece);
            memory.checksums.push(crc);
            turn.give_way();
        }
        Ok(memory)
    }
}

fn vanished(pid: i32, e: io::Error) -> WriteError {
    match e.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => WriteError::Vanished { pid },
        _ => WriteError::Io(e),
    }
}

/// Runs and guards, their bytes, and the table they come from with its length.
fn announced(pid: i32, writer: &Link) -> Result<(Ranges, Ranges, u64, (File, u64)), WriteError> {
    let packet = expect(pid, writer, msg::RUNS).map_err(|e| e.unwrap_or_else(|e| vanished(pid, e)))?;
    let table = File::from(packet.fds.into_iter().next().ok_or(WriteError::Vanished { pid })?);
    let (runs, guards) = read_runs(&table, packet.msg.arg2)?;
    Ok((runs, guards, packet.msg.arg, (table, packet.msg.arg2)))
}

/// Writers at a time: compression has threads of its own for each.
const LANES: usize = 4;

/// All processes' memory, some at a time, in their order. The first failure ends it.
pub fn all(jobs: &[Job], image: &ImageWriter, how: &How) -> Result<Vec<Memory>, WriteError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let lane = || {
        step_back();
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(i) else { break };
            let memory = match job.taken {
                Some(taken) => taken.write(job.pid, image, how),
                None => job.writer.ok_or(WriteError::Vanished { pid: job.pid }).and_then(|link| process(job, link, image, how)),
            };
            done.push((i, memory.inspect_err(|_| failed.store(true, Ordering::Relaxed))?));
        }
        Ok::<_, WriteError>(done)
    };
    let mut done = std::thread::scope(|scope| -> Result<Vec<_>, WriteError> {
        let lanes: Vec<_> = (0..LANES.min(jobs.len())).map(|_| hands::start(scope, lane)).collect();
        let mut all = Vec::new();
        for lane in lanes {
            all.extend(lane.join()??);
        }
        Ok(all)
    })?;
    done.sort_by_key(|d| d.0);
    Ok(done.into_iter().map(|d| d.1).collect())
}

/// Drives one writer to its end; what the image says about the process's memory.
fn process(job: &Job, writer: &Link, image: &ImageWriter, how: &How) -> Result<Memory, WriteError> {
    let pid = job.pid;
    let gone = |e| vanished(pid, e);
    if job.frozen != pid {
        // One that has ended already has said why.
        let _ = writer.send(msg::GO);
    }
    let (runs, guards, bytes, (table, count)) = announced(pid, writer)?;
    let mut memory = how.memory(job.frozen, (runs, guards), bytes, image);
    if memory.codec == Codec::None {
        let offset = image.reserve(bytes);
        let write = Msg { kind: msg::WRITE, arg: offset, ..Msg::default() };
        writer.send_with(write, &[], &[image.file.as_raw_fd()]).map_err(gone)?;
        expect(pid, writer, msg::WRITTEN).map_err(|e| e.unwrap_or_else(gone))?;
        memory.pieces.push(BlobRef { offset, len: bytes });
        memory.checksums = read_checksums(&table, count)?;
    } else {
        compressed(job, writer, image, &mut memory).map_err(|e| e.unwrap_or_else(gone))?;
    }
    Ok(memory)
}

/// Err(Ok(e)): the writer says what failed. Err(Err(e)): the socket did.
pub type Said<T> = Result<T, Fault>;

pub enum Fault {
    Said(WriteError),
    Link(io::Error),
}

impl Fault {
    fn unwrap_or_else(self, f: impl FnOnce(io::Error) -> WriteError) -> WriteError {
        match self {
            Fault::Said(e) => e,
            Fault::Link(e) => f(e),
        }
    }
}

fn expect(pid: i32, writer: &Link, kind: u32) -> Said<crate::link::Packet> {
    let p = writer.recv_within(PATIENCE).map_err(Fault::Link)?;
    if p.msg.kind == kind {
        return Ok(p);
    }
    let source = io::Error::from_raw_os_error(p.msg.errno);
    Err(Fault::Said(WriteError::Process { pid, source }))
}

/// (address, bytes)
pub type Ranges = Vec<(u64, u64)>;

/// Memory that has data, and guard regions.
fn read_runs(table: &File, count: u64) -> io::Result<(Ranges, Ranges)> {
    let len = (count * size_of::<Run>() as u64).min(table.metadata()?.len());
    let mut bytes = vec![0; len as usize];
    table.read_exact_at(&mut bytes, 0)?;
    let all = bytes.chunks_exact(size_of::<Run>()).filter_map(from_bytes::<Run>);
    let (guards, runs): (Vec<Run>, Vec<Run>) = all.partition(Run::is_guard);
    let ranges = |of: &[Run]| of.iter().map(|r| (r.addr & !Run::GUARD, r.bytes)).collect();
    Ok((ranges(&runs), ranges(&guards)))
}

/// They follow the runs.
fn read_checksums(table: &File, count: u64) -> io::Result<Vec<u32>> {
    let (from, end) = (count * size_of::<Run>() as u64, table.metadata()?.len());
    let mut bytes = vec![0; end.saturating_sub(from) as usize];
    table.read_exact_at(&mut bytes, from)?;
    Ok(bytes.chunks_exact(4).filter_map(from_bytes::<u32>).collect())
}

/// Each thread takes the next chunk, compresses and appends it.
fn compressed(job: &Job, writer: &Link, image: &ImageWriter, memory: &mut Memory) -> Said<()> {
    let origin = Origin::of(job, writer, memory)?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(memory.bytes.div_ceil(CHUNK) as usize);
    let codec = memory.codec;
    let source = Mutex::new(Source::new(origin, memory));
    let pieces = std::thread::scope(|scope| -> io::Result<Done> {
        let handles: Vec<_> = (0..threads).map(|_| hands::start(scope, || compress_all(&source, codec, image))).collect();
        let mut done = Vec::new();
        for h in handles {
            done.extend(h.join()??);
        }
        done.sort_by_key(|d| d.0);
        Ok(done)
    });
    drop(source);
    let _ = writer.send(msg::DONE);
    // A writer that failed says why; a short pipe is only the symptom.
    expect(job.pid, writer, msg::WRITTEN)?;
    for (_, piece, crc) in pieces.map_err(Fault::Link)? {
        memory.pieces.push(piece);
        memory.checksums.push(crc);
    }
    Ok(())
}

type Done = Vec<(usize, BlobRef, u32)>;

fn compress_all(source: &Mutex<Source>, codec: Codec, image: &ImageWriter) -> io::Result<Done> {
    step_back();
    let (mut packer, mut turn) = (Packer::new(codec)?, Turn::begin());
    let mut buf = Vec::new();
    let chunk = at_line(&mut buf, CHUNK as usize);
    let mut out = Vec::new();
    while let Some((index, n)) = take(source, chunk)? {
        turn.give_way();
        let appended = packer.pack(&chunk[..n]).and_then(|packed| image.append(&packed));
        // The writer must not wait for a reader that has given up.
        let (piece, crc) = appended.inspect_err(|_| lock(source).give_up())?;
        out.push((index, piece, crc));
        turn.give_way();
    }
    Ok(out)
}
