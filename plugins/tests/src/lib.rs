//! What the tests stand on: moto_server, a proxy before it that makes faults, instance metadata, programs under ckpt.

pub mod http;
pub mod instance;
pub mod imds;
pub mod moto;
pub mod programs;
pub mod proxy;
pub mod scratch;
pub mod victim;

pub use imds::Imds;
pub use instance::Instance;
pub use programs::{Computation, Ran};
pub use proxy::{Fault, Proxy};
pub use scratch::Scratch;
pub use victim::Victim;
