//! An instance metadata service (IMDSv2) of our own: a token first, then what the test says.

use crate::http::{response, serve, Request};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Imds {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    tree: BTreeMap<String, String>,
    /// No answer for this long, then the connection ends.
    silent: Duration,
    /// How many tokens were made void.
    expired: u32,
}

impl State {
    fn token(&self) -> String {
        format!("token-{}", self.expired)
    }
}

impl Imds {
    pub fn start(instance: &str) -> Imds {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        let imds = Imds { port: serve(move |request| serve_one(&shared, &request)), state };
        imds.set("instance-id", instance);
        imds.set("placement/region", "us-east-1");
        imds
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Below /latest/meta-data/.
    pub fn set(&self, path: &str, text: &str) {
        self.state.lock().unwrap().tree.insert(path.to_owned(), text.to_owned());
    }

    /// From now on nobody gets an answer; `Duration::ZERO`: again.
    pub fn silence(&self, time: Duration) {
        self.state.lock().unwrap().silent = time;
    }

    /// Tokens that were given are good no more.
    pub fn expire_tokens(&self) {
        self.state.lock().unwrap().expired += 1;
    }

    pub fn notice(&self, action: &str) {
        self.set("spot/instance-action", &format!(r#"{{"action": "{action}", "time": "2026-01-01T08:22:00Z"}}"#));
    }

    /// As an instance with a role: credentials come from here.
    pub fn give_role(&self) {
        self.set("iam/security-credentials/", "worker");
        let keys = r#"{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ROLEKEY","SecretAccessKey":"ROLESECRET","Token":"ROLETOKEN","Expiration":"2099-01-01T00:00:00Z","LastUpdated":"2026-01-01T00:00:00Z"}"#;
        self.set("iam/security-credentials/worker", keys);
    }
}

fn serve_one(state: &Mutex<State>, request: &Request) -> Option<Vec<u8>> {
    let silent = state.lock().unwrap().silent;
    if silent > Duration::ZERO {
        std::thread::sleep(silent);
        return None;
    }
    Some(answer(&state.lock().unwrap(), request))
}

fn answer(state: &State, request: &Request) -> Vec<u8> {
    let token = state.token();
    let head = request.head.to_ascii_lowercase();
    if request.path == "/latest/api/token" {
        let mut answer = response(200, "text/plain", &token);
        let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(0);
        answer.splice(at..at, b"\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600".iter().copied());
        return answer;
    }
    if !head.contains(&format!("x-aws-ec2-metadata-token: {token}")) {
        return response(401, "text/plain", "");
    }
    match request.path.strip_prefix("/latest/meta-data/").and_then(|p| state.tree.get(p)) {
        Some(text) => response(200, "text/plain", text),
        None => response(404, "text/plain", ""),
    }
}
