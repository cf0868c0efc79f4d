//! Connections: made with every step measured, kept for a number of requests, and thrown away.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use url::Host;

use super::address::Origin;
use super::trouble::{Phase, Trouble};
use super::trust::Trust;

/// What a connection took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The name's lookup.
    pub lookup: Duration,
    /// TCP.
    pub connect: Duration,
    /// The handshake.
    pub tls: Option<Duration>,
}

impl Setup {
    /// All of it.
    pub fn total(&self) -> Duration {
        self.lookup + self.connect + self.tls.unwrap_or_default()
    }
}

/// The certificates that a server showed.
pub(super) type Chain = Arc<Vec<CertificateDer<'static>>>;

pub(super) struct Connection {
    pub(super) origin: Origin,
    pub(super) sender: SendRequest<Empty<Bytes>>,
    pub(super) setup: Setup,
    pub(super) chain: Option<Chain>,
    /// Requests that were sent on it.
    pub(super) used: usize,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connections that wait for the next request.
#[derive(Default)]
pub(super) struct Pool {
    idle: HashMap<Origin, Vec<Connection>>,
}

impl Pool {
    /// One that may be used again.
    pub(super) fn take(&mut self, origin: &Origin) -> Option<Connection> {
        let idle = self.idle.get_mut(origin)?;
        while let Some(connection) = idle.pop() {
            if !connection.sender.is_closed() && connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps one whose answer was read to its end.
    pub(super) fn keep(&mut self, connection: Connection, requests_max: usize) {
        if connection.used < requests_max && !connection.sender.is_closed() {
            self.idle.entry(connection.origin.clone()).or_default().push(connection);
        }
    }
}

/// Longer heads of answers are refused: no application means to write them.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Makes a connection. `turn` says with which of the server's addresses to begin, so that all of them are met in time.
pub(super) async fn open(origin: &Origin, trust: &Trust, turn: usize, deadline: Instant) -> Result<Connection, Trouble> {
    let began = Instant::now();
    let addresses = timeout_at(deadline, lookup(origin)).await.map_err(|_| Trouble::TimedOut(Phase::Lookup))??;
    let lookup = began.elapsed();
    let began = Instant::now();
    let stream = timeout_at(deadline, connect(&addresses, turn)).await.map_err(|_| Trouble::TimedOut(Phase::Connect))??;
    let connect = began.elapsed();
    // Small requests go out at once; without it, this end would add to what it measures.
    let _ = stream.set_nodelay(true);
    if !origin.is_tls {
        let setup = Setup { lookup, connect, tls: None };
        return speak(stream, origin, setup, None).await;
    }
    let began = Instant::now();
    let name = origin.server_name().ok_or_else(|| Trouble::Tls("the host cannot be the name of a certificate".to_owned()))?;
    let handshake = TlsConnector::from(trust.config.clone()).connect(name, stream);
    let stream = timeout_at(deadline, handshake).await.map_err(|_| Trouble::TimedOut(Phase::Tls))?.map_err(|error| Trouble::of_handshake(&error))?;
    let setup = Setup { lookup, connect, tls: Some(began.elapsed()) };
    let chain = stream.get_ref().1.peer_certificates().map(|chain| Arc::new(chain.iter().map(|one| one.clone().into_owned()).collect()));
    speak(stream, origin, setup, chain).await
}

async fn lookup(origin: &Origin) -> Result<Vec<SocketAddr>, Trouble> {
    let name = match &origin.host {
        Host::Ipv4(address) => return Ok(vec![SocketAddr::from((*address, origin.port))]),
        Host::Ipv6(address) => return Ok(vec![SocketAddr::from((*address, origin.port))]),
        Host::Domain(name) => name,
    };
    let found = tokio::net::lookup_host((name.as_str(), origin.port)).await.map_err(|error| Trouble::Lookup(error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() { Err(Trouble::Lookup("it has no address".to_owned())) } else { Ok(addresses) }
}

/// One address that is silent must not keep us from the next, but for the last one.
const ADDRESS_SECONDS_MAX: Duration = Duration::from_secs(1);
const ADDRESSES_MAX: usize = 8;

/// Each address in turn, as browsers do: a server is reached if one of them takes the connection.
async fn connect(addresses: &[SocketAddr], turn: usize) -> Result<TcpStream, Trouble> {
    let mut last = "there is no address".to_owned();
    let tried = addresses.len().min(ADDRESSES_MAX);
    for offset in 0..tried {
        let connecting = TcpStream::connect(addresses[(turn + offset) % addresses.len()]);
        let connected = if offset + 1 == tried { Ok(connecting.await) } else { timeout(ADDRESS_SECONDS_MAX, connecting).await };
        match connected {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => "an address is silent".clone_into(&mut last),
        }
    }
    Err(Trouble::Connect(last))
}

async fn speak<S>(stream: S, origin: &Origin, setup: Setup, chain: Option<Chain>) -> Result<Connection, Trouble>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    TokioIo<S>: Read + Write,
{
    let ready = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = ready.map_err(|error| Trouble::of_exchange(&error))?;
    // What becomes of it is seen by whoever sends on it.
    let task = tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Connection { origin: origin.clone(), sender, setup, chain, used: 0, task })
}
