//! A Chromium without a window, driven by its own protocol (CDP) over a WebSocket.

use std::{path::Path, process::Stdio, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use e2e::eventually;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// How long one command may take: longer, and the page hangs.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

/// A browser with one page. Dropped, it is killed.
pub(crate) struct Chromium {
    _child: Child,
    _folder: TempDir,
    socket: WebSocketStream<TcpStream>,
    session: Option<String>,
    next: u64,
    /// Errors of scripts, and what the page's policy has refused.
    pub(crate) problems: Vec<String>,
}

impl Chromium {
    /// Starts it.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let child = Command::new("chromium")
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Chromium: run scripts/prerequisites chromium");
        let told = folder.path().join("DevToolsActivePort");
        let (port, path) = eventually("Chromium told its port", async || {
            let text = std::fs::read_to_string(&told).map_err(|e| e.to_string())?;
            let (port, path) = text.split_once('\n').ok_or("no path yet")?;
            Ok((port.to_owned(), path.trim().to_owned()))
        })
        .await;
        let address = format!("127.0.0.1:{port}");
        let stream = TcpStream::connect(&address).await.expect("its port");
        let url = format!("ws://{address}{path}");
        let (socket, _) = client_async(&url, stream).await.expect("its WebSocket");
        let mut browser = Self {
            _child: child,
            _folder: folder,
            socket,
            session: None,
            next: 0,
            problems: Vec::new(),
        };
        let page = browser
            .call("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// A command, and what it answers.
    pub(crate) async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let message = Message::text(message.to_string());
        self.socket.send(message).await.expect("Chromium listens");
        let answered = async {
            loop {
                let message = self.socket.next().await.expect("Chromium lives");
                let Ok(Message::Text(text)) = message else {
                    continue;
                };
                let told: Value = serde_json::from_str(&text).expect("JSON");
                if told["id"] == id {
                    return told;
                }
                note(&mut self.problems, &told);
            }
        };
        let answered = tokio::time::timeout(COMMAND_TIMEOUT, answered).await;
        let mut told = answered.unwrap_or_else(|_| panic!("{method}: the page hangs"));
        assert!(told["error"].is_null(), "{method}: {told}");
        told["result"].take()
    }

    /// Goes to a page.
    pub(crate) async fn go(&mut self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        self.until("loaded", "document.readyState === 'complete'")
            .await;
    }

    /// The value of an expression.
    pub(crate) async fn value(&mut self, expression: &str) -> Value {
        let run = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut told = self.call("Runtime.evaluate", run).await;
        let wrong = &told["exceptionDetails"];
        assert!(wrong.is_null(), "{expression}: {wrong}");
        told["result"]["value"].take()
    }

    /// Waits until an expression holds.
    pub(crate) async fn until(&mut self, what: &str, expression: &str) {
        let began = std::time::Instant::now();
        let safe =
            format!("(() => {{ try {{ return !!({expression}) }} catch {{ return false }} }})()");
        while self.value(&safe).await != true {
            if began.elapsed() > e2e::DEADLINE {
                let page = self.value("document.body.innerText.slice(0, 3000)").await;
                panic!("not yet {what}: {expression}\n{:?}\n{page}", self.problems);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Presses and releases a key.
    pub(crate) async fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let code = match key {
                "Tab" => 9,
                _ => 13,
            };
            let mut event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if key == "Enter" && kind == "keyDown" {
                event["text"] = "\r".into();
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// As wide as that, from now on.
    pub(crate) async fn resize(&mut self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Light or dark, as the reader wants it.
    pub(crate) async fn scheme(&mut self, scheme: &str) {
        let wanted = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": wanted }))
            .await;
    }

    /// A picture of the whole page.
    pub(crate) async fn picture(&mut self, file: &Path) {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let told = self.call("Page.captureScreenshot", whole).await;
        let png = told["data"].as_str().expect("a picture");
        let png = BASE64_STANDARD.decode(png).expect("base64");
        std::fs::write(file, png).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

fn note(problems: &mut Vec<String>, told: &Value) {
    let parameters = &told["params"];
    match told["method"].as_str() {
        Some("Runtime.exceptionThrown") => problems.push(parameters.to_string()),
        Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
            // What is not there yet, is asked for until it is; and streams break when a service is killed.
            if parameters["entry"]["source"] != "network" {
                problems.push(parameters.to_string());
            }
        }
        _ => {}
    }
}
