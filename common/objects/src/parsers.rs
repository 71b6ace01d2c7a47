//! Every parser of /proc text, for fuzzers.

/// Whatever the text is, none of them may panic.
pub fn all(text: &str) {
    for line in text.lines() {
        crate::kinds::inotify::parse(line);
        crate::kinds::epoll::parse(line);
        crate::locks::parse(line);
        let _ = crate::kinds::timerfd::pair(line);
    }
    crate::ipc::proc_list::parse(text);
    crate::kinds::multicast::v4_groups(text);
    crate::kinds::multicast::v6_groups(text);
}
