//! An instance metadata service (IMDSv2) of our own: a token first, then what the test says.

use crate::http::{response, serve, Request};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub struct Imds {
    pub port: u16,
    tree: Arc<Mutex<BTreeMap<String, String>>>,
}

const TOKEN: &str = "a-token";

impl Imds {
    pub fn start(instance: &str) -> Imds {
        let tree: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let shared = tree.clone();
        let imds = Imds { port: serve(move |r| Some(answer(&shared.lock().unwrap(), &r))), tree };
        imds.set("instance-id", instance);
        imds.set("placement/region", "us-east-1");
        imds
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Below /latest/meta-data/.
    pub fn set(&self, path: &str, text: &str) {
        self.tree.lock().unwrap().insert(path.to_owned(), text.to_owned());
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

fn answer(tree: &BTreeMap<String, String>, request: &Request) -> Vec<u8> {
    let head = request.head.to_ascii_lowercase();
    if request.path == "/latest/api/token" {
        let mut answer = response(200, "text/plain", TOKEN);
        let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(0);
        answer.splice(at..at, b"\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600".iter().copied());
        return answer;
    }
    if !head.contains(&format!("x-aws-ec2-metadata-token: {TOKEN}")) {
        return response(401, "text/plain", "");
    }
    match request.path.strip_prefix("/latest/meta-data/").and_then(|p| tree.get(p)) {
        Some(text) => response(200, "text/plain", text),
        None => response(404, "text/plain", ""),
    }
}
