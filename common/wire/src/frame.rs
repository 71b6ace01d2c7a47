//! Length-prefixed frames with a hard limit.

use crate::{FrameKey, Limited, AUTH_TAG_LEN};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::{de::DeserializeOwned, Serialize};

/// The longest message to the coordinator.
pub const MAX_FRAME: usize = 1 << 20;
/// The longest message from the coordinator, which adds up what thousands of agents said.
pub const MAX_REPLY: usize = 16 << 20;

const PREFIX: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    FrameTooLong {
        len: usize,
        limit: usize,
    },
    FieldTooLong {
        field: &'static str,
        len: usize,
        limit: usize,
    },
    /// The bytes are no message of this protocol version.
    Garbage(String),
    /// Changed, repeated or inserted on the way.
    Forged,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::FrameTooLong { len, limit } => write!(f, "a frame of {len} bytes exceeds the limit of {limit}"),
            WireError::FieldTooLong { field, len, limit } => {
                write!(f, "field {field} has length {len}, the limit is {limit}")
            }
            WireError::Forged => write!(f, "a message without the right tag: somebody on the way has changed or repeated it"),
            WireError::Garbage(why) => write!(f, "not a message of this protocol version: {why}"),
        }
    }
}

impl core::error::Error for WireError {}

/// One message as a frame of at most `limit` bytes.
pub fn encode<M: Serialize + Limited>(message: &M, limit: usize) -> Result<Vec<u8>, WireError> {
    message.check()?;
    let body = bincode::serde::encode_to_vec(message, bincode::config::standard())
        .map_err(|error| WireError::Garbage(error.to_string()))?;
    if body.len() > limit {
        return Err(WireError::FrameTooLong { len: body.len(), limit });
    }
    let mut frame = Vec::with_capacity(PREFIX + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// What a frame's tag is made of.
pub fn body(frame: &[u8]) -> &[u8] {
    frame.get(PREFIX..).unwrap_or_default()
}

/// Takes bytes as they arrive and gives messages. After an error the stream is lost: close it.
#[derive(Debug)]
pub struct FrameDecoder {
    limit: usize,
    buffer: Vec<u8>,
    /// Bytes at the front that were given out already.
    consumed: usize,
    key: Option<FrameKey>,
}

impl FrameDecoder {
    pub fn new(limit: usize) -> FrameDecoder {
        FrameDecoder { limit, buffer: Vec::new(), consumed: 0, key: None }
    }

    /// From here on a frame without its tag is not looked at.
    pub fn set_key(&mut self, key: FrameKey) {
        self.key = Some(key);
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a frame has begun and not ended: an end of file now is a truncation.
    pub fn is_mid_frame(&self) -> bool {
        self.buffer.len() > self.consumed
    }

    /// The next whole message, `None` until it has arrived.
    pub fn next_message<M: DeserializeOwned + Limited>(&mut self) -> Result<Option<M>, WireError> {
        let pending = &self.buffer[self.consumed..];
        let Some((prefix, rest)) = pending.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let len = u32::from_le_bytes(*prefix) as usize;
        if len > self.limit {
            return Err(WireError::FrameTooLong { len, limit: self.limit });
        }
        let tag_len = if self.key.is_some() { AUTH_TAG_LEN } else { 0 };
        let Some((body, tag)) = rest.get(..len + tag_len).map(|all| all.split_at(len)) else { return Ok(None) };
        if self.key.as_mut().is_some_and(|key| !key.verify(body, tag)) {
            return Err(WireError::Forged);
        }
        let message = decode(body)?;
        self.consumed += PREFIX + len + tag_len;
        Ok(Some(message))
    }
}

fn decode<M: DeserializeOwned + Limited>(body: &[u8]) -> Result<M, WireError> {
    // The limit keeps a lying length inside the message from reserving memory.
    let config = bincode::config::standard().with_limit::<MAX_REPLY>();
    let (message, used): (M, usize) =
        bincode::serde::decode_from_slice(body, config).map_err(|error| WireError::Garbage(error.to_string()))?;
    if used != body.len() {
        return Err(WireError::Garbage("bytes follow the message".into()));
    }
    message.check()?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;
    use alloc::vec;

    fn sample() -> ClientMessage {
        ClientMessage::Hello(Hello::new(Role::Agent, "host".into(), 7, "prog".into()))
    }

    #[test]
    fn round_trip_in_one_piece_and_byte_by_byte() {
        let frame = encode(&sample(), MAX_FRAME).unwrap();
        let mut whole = FrameDecoder::new(MAX_FRAME);
        whole.push(&frame);
        assert_eq!(whole.next_message::<ClientMessage>(), Ok(Some(sample())));
        assert!(!whole.is_mid_frame());

        let mut slow = FrameDecoder::new(MAX_FRAME);
        for (at, byte) in frame.iter().enumerate() {
            assert_eq!(slow.next_message::<ClientMessage>(), Ok(None), "after {at} bytes");
            slow.push(&[*byte]);
        }
        assert_eq!(slow.next_message::<ClientMessage>(), Ok(Some(sample())));
    }

    /// A frame as it goes over TCP.
    fn tagged(message: &ClientMessage, key: &mut FrameKey) -> Vec<u8> {
        let mut frame = encode(message, MAX_FRAME).unwrap();
        let tag = key.tag(body(&frame));
        frame.extend(tag);
        frame
    }

    fn keyed(key: &[u8; 32]) -> FrameDecoder {
        let mut decoder = FrameDecoder::new(MAX_FRAME);
        decoder.set_key(FrameKey::new(key));
        decoder
    }

    #[test]
    fn a_tagged_frame_is_taken_once_and_in_its_turn() {
        let mut key = FrameKey::new(&[1; 32]);
        let leave = ClientMessage::Agent(AgentMessage::Leave);
        let (first, second) = (tagged(&sample(), &mut key), tagged(&leave, &mut key));
        let mut decoder = keyed(&[1; 32]);
        decoder.push(&first);
        decoder.push(&second);
        assert_eq!(decoder.next_message(), Ok(Some(sample())));
        assert_eq!(decoder.next_message(), Ok(Some(leave)));
        let wrong: [(&str, Vec<&[u8]>); 3] =
            [("repeated", vec![&first, &first]), ("left out", vec![&second]), ("another key", vec![])];
        for (what, frames) in wrong {
            let mut decoder = keyed(if frames.is_empty() { &[2; 32] } else { &[1; 32] });
            let frames = if frames.is_empty() { vec![&first[..]] } else { frames };
            frames.iter().for_each(|frame| decoder.push(frame));
            let last = frames.iter().map(|_| decoder.next_message::<ClientMessage>()).last();
            assert_eq!(last, Some(Err(WireError::Forged)), "{what}");
        }
    }

    #[test]
    fn every_changed_byte_of_a_tagged_frame_is_noticed() {
        let good = tagged(&sample(), &mut FrameKey::new(&[1; 32]));
        for at in PREFIX..good.len() {
            let mut frame = good.clone();
            frame[at] ^= 1;
            let mut decoder = keyed(&[1; 32]);
            decoder.push(&frame);
            assert_eq!(decoder.next_message::<ClientMessage>(), Err(WireError::Forged), "byte {at}");
        }
        let mut decoder = keyed(&[1; 32]);
        decoder.push(&encode(&sample(), MAX_FRAME).unwrap());
        assert_eq!(decoder.next_message::<ClientMessage>(), Ok(None), "a frame without a tag");
    }

    #[test]
    fn two_messages_in_one_push() {
        let mut bytes = encode(&sample(), MAX_FRAME).unwrap();
        bytes.extend(encode(&ClientMessage::Agent(AgentMessage::Leave), MAX_FRAME).unwrap());
        let mut decoder = FrameDecoder::new(MAX_FRAME);
        decoder.push(&bytes);
        assert_eq!(decoder.next_message(), Ok(Some(sample())));
        assert_eq!(decoder.next_message(), Ok(Some(ClientMessage::Agent(AgentMessage::Leave))));
        assert_eq!(decoder.next_message::<ClientMessage>(), Ok(None));
    }

    #[test]
    fn truncated_frame_is_mid_frame() {
        let frame = encode(&sample(), MAX_FRAME).unwrap();
        let mut decoder = FrameDecoder::new(MAX_FRAME);
        decoder.push(&frame[..frame.len() - 1]);
        assert_eq!(decoder.next_message::<ClientMessage>(), Ok(None));
        assert!(decoder.is_mid_frame());
    }

    #[test]
    fn oversized_frame_is_refused_by_its_prefix() {
        let mut decoder = FrameDecoder::new(MAX_FRAME);
        decoder.push(&(MAX_FRAME as u32 + 1).to_le_bytes());
        let limit = MAX_FRAME;
        assert_eq!(decoder.next_message::<ClientMessage>(), Err(WireError::FrameTooLong { len: limit + 1, limit }));
    }

    #[test]
    fn oversized_message_is_not_encoded() {
        let images = vec![ImageInfo { path: "x".repeat(MAX_PATH), ..ImageInfo::default() }; 4096];
        let summary = Summary { images, ..Summary::default() };
        let done = CoordinatorMessage::Done(summary);
        assert!(matches!(encode(&done, MAX_FRAME), Err(WireError::FrameTooLong { .. })));
    }

    #[test]
    fn oversized_field_is_refused_both_ways() {
        let reason = "x".repeat(MAX_REASON + 1);
        let message = ClientMessage::Agent(AgentMessage::Failed { generation: 1, reason });
        let refused = WireError::FieldTooLong { field: "reason", len: MAX_REASON + 1, limit: MAX_REASON };
        assert_eq!(encode(&message, MAX_FRAME), Err(refused.clone()));
        let body = bincode::serde::encode_to_vec(&message, bincode::config::standard()).unwrap();
        assert_eq!(decode::<ClientMessage>(&body), Err(refused));
    }

    #[test]
    fn garbage_is_refused() {
        for body in [&[0xffu8; 40][..], &[], &[9], &[1, 9, 9], &[0, 1, 0, 252, 255, 255, 255, 255]] {
            assert!(matches!(decode::<ClientMessage>(body), Err(WireError::Garbage(_))), "{body:?}");
        }
    }

    #[test]
    fn a_length_inside_that_lies_reserves_nothing() {
        // AgentMessage::Processes with 2^62 rows.
        let mut body = vec![1u8, 2, 0, 253];
        body.extend_from_slice(&(1u64 << 62).to_le_bytes());
        assert!(matches!(decode::<ClientMessage>(&body), Err(WireError::Garbage(_))));
    }

    #[test]
    fn bytes_after_the_message_are_refused() {
        let mut body = bincode::serde::encode_to_vec(sample(), bincode::config::standard()).unwrap();
        body.push(0);
        assert!(matches!(decode::<ClientMessage>(&body), Err(WireError::Garbage(_))));
    }

    #[test]
    fn a_flipped_byte_never_panics() {
        let good = bincode::serde::encode_to_vec(sample(), bincode::config::standard()).unwrap();
        for at in 0..good.len() {
            for value in 0..=255 {
                let mut body = good.clone();
                body[at] = value;
                let _ = decode::<ClientMessage>(&body);
            }
        }
    }
}
