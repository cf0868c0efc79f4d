//! A web server of a test's own, with TLS or without: it keeps connections, and does to each request what the test says. It counts what came.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsAcceptor;

use super::certificates::Shown;

/// A request that came.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// How many came before it.
    pub(super) number: usize,
    /// The connection that it came on, counted from 0.
    pub(super) connection: usize,
    /// `GET /healthz`.
    pub(super) line: String,
    /// `name: value`, in lower case.
    pub(super) headers: Vec<String>,
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// An answer, after a while.
    Answer { status: u16, headers: String, body: Vec<u8>, after: Duration },
    /// The head and a part of the body, and then nothing.
    Stall,
    /// Nothing at all.
    Silence,
    /// The connection is closed without a word.
    HangUp,
    /// Bytes that are no HTTP.
    Garbage,
    /// These bytes.
    Raw(Vec<u8>),
    /// An answer whose body does not end.
    Endless,
}

impl Act {
    pub(super) fn json(body: &serde_json::Value) -> Self {
        Self::Answer { status: 200, headers: "content-type: application/json\r\n".into(), body: body.to_string().into_bytes(), after: Duration::ZERO }
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: String::new(), body: body.as_bytes().to_vec(), after: Duration::ZERO }
    }

    pub(super) fn redirect(status: u16, to: &str) -> Self {
        Self::Answer { status, headers: format!("location: {to}\r\n"), body: Vec::new(), after: Duration::ZERO }
    }

    /// The same answer, later.
    pub(super) fn after(mut self, milliseconds: u64) -> Self {
        if let Self::Answer { after, .. } = &mut self {
            *after = Duration::from_millis(milliseconds);
        }
        self
    }
}

type Behaviour = Arc<dyn Fn(&Asked) -> Act + Send + Sync>;

/// A running server.
pub(super) struct Site {
    pub(super) port: u16,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

impl Site {
    /// Without TLS.
    pub(super) async fn plain(behaviour: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(behaviour)).await
    }

    /// With TLS.
    pub(super) async fn secure(shown: Shown, behaviour: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions();
        let config = builder.expect("versions").with_no_client_auth().with_single_cert(shown.chain, shown.key).expect("a certificate and its key");
        Self::start(Some(TlsAcceptor::from(Arc::new(config))), Arc::new(behaviour)).await
    }

    async fn start(tls: Option<TlsAcceptor>, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, number) = (asked.clone(), Arc::new(AtomicUsize::new(0)));
        let accepting = tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, kept, behaviour, number, this) = (tls.clone(), kept.clone(), behaviour.clone(), number.clone(), connection);
                connection += 1;
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, this, &kept, &behaviour, &number).await,
                        // A client that does not accept the certificate ends it here.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, this, &kept, &behaviour, &number).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { port, scheme, asked, accepting }
    }

    /// A URL of it, under the name that its certificates are for.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.port)
    }

    /// All that came.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("a lock").clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Requests of one connection, until it ends. `None`: it ended.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    connection: usize,
    kept: &Mutex<Vec<Asked>>,
    behaviour: &Behaviour,
    number: &AtomicUsize,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut asked = Asked { connection, ..Asked::default() };
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match (asked.line.is_empty(), line.trim_end()) {
                (true, line) => asked.line = line.trim_end_matches(" HTTP/1.1").to_owned(),
                (false, "") => break,
                (false, header) => asked.headers.push(header.to_ascii_lowercase()),
            }
        }
        asked.number = number.fetch_add(1, Ordering::Relaxed);
        let act = behaviour(&asked);
        let is_head = asked.line.starts_with("HEAD ");
        kept.lock().expect("a lock").push(asked);
        answer(&mut stream, act, is_head).await?;
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, act: Act, is_head: bool) -> Option<()> {
    match act {
        Act::Answer { status, headers, body, after } => {
            sleep_until(Instant::now() + after).await;
            let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
            stream.get_mut().write_all(head.as_bytes()).await.ok()?;
            if !is_head {
                stream.get_mut().write_all(&body).await.ok()?;
            }
            stream.get_mut().flush().await.ok()
        }
        Act::Stall => {
            stream.get_mut().write_all(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\nbegin").await.ok()?;
            stream.get_mut().flush().await.ok()?;
            ended(stream).await
        }
        Act::Silence => ended(stream).await,
        Act::HangUp => {
            let _ = stream.get_mut().shutdown().await;
            None
        }
        Act::Garbage => {
            stream.get_mut().write_all(b"220 mail.example ESMTP\r\n").await.ok()?;
            stream.get_mut().flush().await.ok()?;
            ended(stream).await
        }
        Act::Raw(bytes) => {
            stream.get_mut().write_all(&bytes).await.ok()?;
            stream.get_mut().flush().await.ok()
        }
        Act::Endless => {
            stream.get_mut().write_all(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n").await.ok()?;
            let chunk = format!("{:x}\r\n{}\r\n", 16_384, "x".repeat(16_384));
            loop {
                stream.get_mut().write_all(chunk.as_bytes()).await.ok()?;
            }
        }
    }
}

/// Until the client has gone.
async fn ended<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<()> {
    let mut rest = [0; 1_024];
    while stream.read(&mut rest).await.ok()? > 0 {}
    None
}
