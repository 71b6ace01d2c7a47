//! Messages between a process (or its frozen writer) and the agent: one seqpacket each, `kind` first.

// process -> agent
pub const HELLO: u32 = 1;
/// body: `Times`
pub const QUIESCED: u32 = 2;
pub const FAILED: u32 = 3;
/// carries a memfd of records
pub const RECORDS: u32 = 4;
/// carries descriptors; body: `FdEntry` each
pub const FDS: u32 = 5;
pub const CAPTURED: u32 = 6;
pub const SHARED_DONE: u32 = 7;
pub const FROZEN: u32 = 8;
// writer -> agent
/// carries a memfd of `Run`s
pub const RUNS: u32 = 9;
pub const WRITTEN: u32 = 10;
/// the frozen writer holds nothing of the program's any more: it may go on
pub const READY: u32 = 11;
/// carries a userfaultfd, or errno says why not
pub const TRACKED: u32 = 13;
// restorer -> agent -> the helper that fills memory
/// carries a userfaultfd
pub const LAZY: u32 = 14;
// that helper -> agent
pub const FILLED: u32 = 42;
// restorer -> agent
pub const RESTORED: u32 = 12;
/// answer to SETTLE
pub const SETTLED: u32 = 16;
// program -> agent
/// thread `tid` asks for a checkpoint and waits
pub const REQUEST: u32 = 15;
// agent -> restorer, and -> frozen writer once the program goes on
pub const GO: u32 = 39;
/// all children that are to be stopped are
pub const SETTLE: u32 = 43;
// agent -> process
pub const PROCEED: u32 = 32;
pub const CANCEL: u32 = 33;
pub const CAPTURE: u32 = 34;
/// body: `SharedRange` each; carries the image
pub const SHARED: u32 = 35;
/// body: `SharedRange` each, of mappings to be treated apart; carries the writer's socket; arg 1: write in this process (hold);
/// arg2 1: wait for KEPT first
pub const FREEZE: u32 = 36;
/// And back when all threads have gone on, with arg: what callbacks took, in microseconds.
pub const RESUME: u32 = 37;
/// instead of PROCEED: what thread `tid` asked for is done (arg 1), or not: the body says why
pub const ANSWER: u32 = 45;
/// arg: a stopped child; the answer is the same with arg 1 if the program has not been told of the stop
pub const ASK_STOP: u32 = 46;
/// arg: a child that was stopped again, of which the program had been told
pub const TAKE_STOP: u32 = 47;
/// arg: seconds without a word from the agent after which the process goes on by itself; arg2: after FREEZE with
/// hold
pub const SILENCE: u32 = 50;
/// the descriptors of thread `tid`, which has a table of its own; the answer is FDS and CAPTURED
pub const TABLE: u32 = 60;
// process -> agent, by itself
/// callbacks of event `count` (include/ckpt/ckpt.h) began at `arg` (CLOCK_REALTIME, nanoseconds) and took `arg2`
/// microseconds
pub const TOLD: u32 = 61;
// agent -> agent
/// common/agent/src/followers.rs
pub const FOLLOW: u32 = 62;
// agent -> writer
/// carries the image or a pipe; arg: file offset, u64::MAX for a pipe
pub const WRITE: u32 = 38;
/// carries a memfd of `Run`s that the parent image holds; arg: how many
pub const KEPT: u32 = 40;
/// The agent has read the memory from here: the copy need not keep the first `arg` bytes.
pub const DROP: u32 = 48;
/// The agent has read all of it.
pub const DONE: u32 = 49;
// agent -> process
pub const TRACK: u32 = 41;
