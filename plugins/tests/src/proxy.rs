//! A proxy before moto_server that counts calls and makes faults.

use crate::http::{forward, response, serve, Request};
use crate::moto;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Deed = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone)]
pub enum Fault {
    /// This answer instead.
    Answer(u16, String),
    /// No answer for this long, then the connection ends; nothing is carried out.
    Hang(Duration),
    /// The connection ends; nothing is carried out.
    Cut,
    /// It is carried out, and the connection ends without the answer.
    LoseAnswer,
    /// In the answer.
    Rewrite(&'static str, &'static str),
    /// Something else happens first; the connection ends, nothing is carried out.
    Before(Deed),
    /// It is carried out, then something else happens; the connection ends without the answer.
    After(Deed),
    /// Something else happens, then all goes on as usual.
    Meanwhile(Deed),
}

struct Rule {
    pattern: String,
    /// Matches that are let through first.
    skip: usize,
    times: usize,
    fault: Fault,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<String>,
}

pub struct Proxy {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub fn start() -> Proxy {
        let moto = moto::port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        Proxy { port: serve(move |request| answer(moto, &shared, request)), state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next `times` requests that have `pattern` in their head or body.
    pub fn fault(&self, pattern: &str, times: usize, fault: Fault) {
        self.fault_after(pattern, 0, times, fault);
    }

    pub fn fault_after(&self, pattern: &str, skip: usize, times: usize, fault: Fault) {
        self.state.lock().unwrap().rules.push(Rule { pattern: pattern.into(), skip, times, fault });
    }

    pub fn clear(&self) {
        let mut state = self.state.lock().unwrap();
        state.rules.clear();
        state.seen.clear();
    }

    /// Requests so far that have `pattern` in them.
    pub fn count(&self, pattern: &str) -> usize {
        self.state.lock().unwrap().seen.iter().filter(|s| s.contains(pattern)).count()
    }
}

fn answer(moto: u16, state: &Mutex<State>, request: Request) -> Option<Vec<u8>> {
    let text = request.text();
    let fault = {
        let mut state = state.lock().unwrap();
        state.seen.push(text.clone());
        due(&mut state.rules, &text)
    };
    let pass = || forward(moto, &request).ok().map(|answer| mend(&request, answer));
    match fault {
        None => pass(),
        Some(Fault::Answer(status, body)) => {
            let kind = if body.starts_with('{') { "application/x-amz-json-1.0" } else { "application/xml" };
            Some(response(status, kind, &body))
        }
        Some(Fault::Hang(time)) => {
            std::thread::sleep(time);
            None
        }
        Some(Fault::Cut) => None,
        Some(Fault::LoseAnswer) => {
            pass();
            None
        }
        Some(Fault::Rewrite(from, to)) => {
            let text = String::from_utf8_lossy(&pass()?).replace(from, to);
            let (_, body) = text.split_once("\r\n\r\n")?;
            Some(response(200, "application/xml", body))
        }
        Some(Fault::Before(deed)) => {
            deed();
            None
        }
        Some(Fault::After(deed)) => {
            pass();
            deed();
            None
        }
        Some(Fault::Meanwhile(deed)) => {
            deed();
            pass()
        }
    }
}

/// moto names the element of one answer otherwise than S3 does, and the SDK takes it for none.
fn mend(request: &Request, answer: Vec<u8>) -> Vec<u8> {
    if request.method != "GET" || !request.path.contains("uploadId=") {
        return answer;
    }
    let text = String::from_utf8_lossy(&answer).replace("ListPartsResponse", "ListPartsResult");
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => response(200, "application/xml", body),
        _ => answer,
    }
}

fn due(rules: &mut [Rule], text: &str) -> Option<Fault> {
    for rule in rules.iter_mut().filter(|r| text.contains(&r.pattern)) {
        if rule.skip > 0 {
            rule.skip -= 1;
        } else if rule.times > 0 {
            rule.times -= 1;
            return Some(rule.fault.clone());
        }
    }
    None
}

/// EC2's shape of an error.
pub fn ec2_error(status: u16, code: &str, message: &str) -> Fault {
    let body = format!("<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>r</RequestID></Response>");
    Fault::Answer(status, body)
}

pub fn s3_error(status: u16, code: &str, message: &str) -> Fault {
    Fault::Answer(status, format!("<Error><Code>{code}</Code><Message>{message}</Message><RequestId>r</RequestId></Error>"))
}

pub fn dynamodb_error(status: u16, code: &str, message: &str) -> Fault {
    Fault::Answer(status, format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"{message}"}}"#))
}
