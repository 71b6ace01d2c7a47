//! An instance that vanishes at a step: here the program does, by a signal that nothing can catch.

use crate::programs::start;
use crate::Ran;
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
pub struct Victim(Arc<Mutex<Option<u32>>>);

impl Victim {
    /// For a fault: the program that `run` starts is killed.
    pub fn kill(&self) -> Arc<dyn Fn() + Send + Sync> {
        let victim = self.clone();
        Arc::new(move || {
            let pid = loop {
                if let Some(pid) = *victim.0.lock().expect("nobody panics with it") {
                    break pid;
                }
                std::thread::yield_now();
            };
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        })
    }

    pub fn run(&self, command: &mut Command) -> Ran {
        self.run_with(command, "")
    }

    pub fn run_with(&self, command: &mut Command, stdin: &str) -> Ran {
        let mut child = start(command);
        *self.0.lock().expect("nobody panics with it") = Some(child.id());
        let _ = child.stdin.take().map(|mut to| to.write_all(stdin.as_bytes()));
        Ran::of(child.wait_with_output().expect("it ends"))
    }
}
