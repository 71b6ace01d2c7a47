//! As much HTTP/1.1 as the tests need: one request a connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

pub struct Request {
    pub method: String,
    pub path: String,
    /// The request line and the headers, as they came.
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    /// What rules are matched against: the head, and the beginning of the body if it is text.
    pub fn text(&self) -> String {
        let some = &self.body[..self.body.len().min(4096)];
        format!("{}{}", self.head, String::from_utf8_lossy(some))
    }
}

/// Serves on a free port of this host, a thread for each connection, until the process ends.
pub fn serve(answer: impl Fn(Request) -> Option<Vec<u8>> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                if let Ok(request) = read(&connection) {
                    // None: the connection just ends.
                    if let Some(bytes) = answer(request) {
                        let _ = (&connection).write_all(&bytes);
                    }
                }
            });
        }
    });
    port
}

pub fn response(status: u16, content_type: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

fn read(connection: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let lower = head.to_ascii_lowercase();
    let header = |name: &str| lower.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned());
    if header("expect:").is_some() {
        (&mut &*connection).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let len = header("content-length:").and_then(|v| v.parse().ok()).unwrap_or(0);
    let mut body = vec![0; len];
    reader.read_exact(&mut body)?;
    let mut words = head.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    Ok(Request { method, path, head, body })
}

/// Passes a request on; the whole answer.
pub fn forward(port: u16, request: &Request) -> io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    let keep = |l: &&str| {
        let l = l.to_ascii_lowercase();
        !l.starts_with("connection:") && !l.starts_with("expect:") && !l.is_empty()
    };
    let head: Vec<&str> = request.head.lines().filter(keep).collect();
    connection.write_all(format!("{}\r\nConnection: close\r\n\r\n", head.join("\r\n")).as_bytes())?;
    connection.write_all(&request.body)?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(answer)
}
