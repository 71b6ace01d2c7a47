//! One moto_server for all tests of a run. `CKPT_MOTO_PYTHON` names a Python that has moto.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

struct Server {
    port: u16,
    /// It ends when its standard input does, so with this process whatever becomes of it.
    _child: Child,
}

const SCRIPT: &str = "
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
";

/// Its port.
pub fn port() -> u16 {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start).port
}

fn start() -> Server {
    let python = std::env::var("CKPT_MOTO_PYTHON").expect("CKPT_MOTO_PYTHON: run these tests with plugins/test");
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python with moto");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("its port");
    let port = line.trim().parse().expect("moto_server says its port");
    Server { port, _child: child }
}
