//! mq_notify(3): the value and the function of a notification cannot be read back.

use super::abi::{Plain, hook, load};
use core::ffi::c_int;

hook! { unchecked fn mq_notify(queue: c_int, event: *const [u64; 3]) -> c_int => mq_notify }

/// `struct sigevent` begins with the value, signal and kind, the function.
fn mq_notify(queue: c_int, event: *const [u64; 3]) -> Plain<c_int> {
    let result = mq_notify::next(queue, event);
    if let Some([value, _, function]) = load(event).filter(|_| result == 0) {
        crate::queues::remember(queue, value, function);
    }
    Plain(result)
}
