//! What coordinator, agents and `ckpt_command` say to each other: messages, frames and their limits. No I/O.
//!
//! ```text
//! connection:  preamble (8 bytes, from the coordinator) [challenge-response on TCP] frame*
//! frame:       length u32 LE | bincode of one message [| tag of 32 bytes, on TCP]
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod frame;
mod id;
mod limits;
mod message;
mod modes;
mod preamble;
mod tag;

pub use frame::{body, encode, FrameDecoder, WireError, MAX_FRAME, MAX_REPLY};
pub use id::{BadComputationId, ComputationId};
pub use limits::{clip, Limited, MAX_HOOKS, MAX_IMAGES, MAX_NAME, MAX_NOTES, MAX_PATH, MAX_PROGRAM, MAX_PUBLISHED, MAX_PUBLISHED_KEY, MAX_PUBLISHED_KEYS, MAX_REASON, MAX_ROWS, MAX_TIMINGS};
pub use message::{
    AgentInfo, AgentMessage, CheckpointStats, ClientMessage, CommandMessage, CoordinatorMessage, Hello, HookEvent,
    HookReport, HookRequest, ImageInfo, Moment, Overrides, ProcessEvent, ProcessEvents, ProcessMoment, ProcessRow,
    Progress, Restarted, Role, Stage, Status, Summary, Timing, Welcome,
};
pub use modes::{BadMode, Compression, PauseMode};
pub use preamble::{Preamble, AUTH_NONCE_LEN, AUTH_TAG_LEN, PREAMBLE_LEN};
pub use tag::FrameKey;

/// Raised whenever a message changes its layout.
pub const PROTOCOL_VERSION: u16 = 2;
