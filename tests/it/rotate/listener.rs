//! An HTTP server of a test's own, for what no cloud does on demand: an answer that is older than the last one, a redirect, a service that is down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running server. It answers with what it was given, in order, and with the last one ever after.
pub(super) struct Listener {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

/// A request that came.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) line: String,
    /// In lower case.
    pub(super) headers: Vec<String>,
    pub(super) body: String,
}

/// Status, further headers, body.
pub(super) type Answer = (u16, String, String);

impl Listener {
    pub(super) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, answers) = (asked.clone(), Arc::new(Mutex::new(VecDeque::from(answers))));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, kept.clone(), answers.clone()));
            }
        });
        Self { url, asked, accepting }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("a lock").clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One request, one answer, and the connection is closed.
async fn answer(stream: TcpStream, asked: Arc<Mutex<Vec<Asked>>>, answers: Arc<Mutex<VecDeque<Answer>>>) {
    let mut stream = BufReader::new(stream);
    let (mut request, mut length) = (Asked::default(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end().to_owned();
        if request.line.is_empty() {
            request.line = line;
            continue;
        }
        if line.is_empty() {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(count) = line.strip_prefix("content-length: ") {
            length = count.parse().expect("a number");
        }
        request.headers.push(line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("the body");
    request.body = String::from_utf8(body).expect("text");
    asked.lock().expect("a lock").push(request);
    let (status, headers, body) = {
        let mut answers = answers.lock().expect("a lock");
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.expect("an answer")
    };
    let text = format!("HTTP/1.1 {status} X\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let _ = stream.get_mut().write_all(text.as_bytes()).await;
}
