//! A proxy for any TCP protocol, PostgreSQL's above all (TLS passes through it): counts bytes, and can cut, refuse and freeze.
//!
//! It listens on another port of the target's own address, so that a certificate for that address is right for the proxy, too.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    FromClient,
    /// Answers.
    FromServer,
}

/// What becomes of new connections after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterCut {
    /// The network blinked: they are accepted.
    Accept,
    /// The server is gone: they are refused until [`TcpProxy::heal`].
    Refuse,
}

/// Every connection is cut when so many bytes, of all connections together, have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Which bytes are counted; the last of them still arrives.
    pub direction: Direction,
    /// How many pass.
    pub after_bytes: u64,
    /// What follows.
    pub then: AfterCut,
}

/// How many bytes have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Requests.
    pub from_client: u64,
    /// Answers.
    pub from_server: u64,
}

/// A running proxy; dropping it closes its connections.
#[derive(Debug)]
pub struct TcpProxy {
    /// Where clients connect.
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    from_client: AtomicU64,
    from_server: AtomicU64,
    accepted: AtomicUsize,
    open: AtomicUsize,
    cut: Mutex<Option<Cut>>,
    refuses: watch::Sender<bool>,
    frozen: watch::Sender<bool>,
    /// Counts cuts; a connection ends when it changes.
    cuts: watch::Sender<u64>,
}

impl TcpProxy {
    /// Starts a proxy in front of an address.
    ///
    /// # Errors
    /// When no port of that address is free.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(target.ip(), 0)).await?;
        let state = Arc::new(State {
            target,
            from_client: AtomicU64::new(0),
            from_server: AtomicU64::new(0),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            cut: Mutex::new(None),
            refuses: watch::channel(false).0,
            frozen: watch::channel(false).0,
            cuts: watch::channel(0).0,
        });
        Ok(Self { address: listener.local_addr()?, state: state.clone(), accepting: tokio::spawn(accept(listener, state)) })
    }

    /// Bytes that have passed since the start.
    pub fn bytes(&self) -> Bytes {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Bytes { from_client: read(&self.state.from_client), from_server: read(&self.state.from_server) }
    }

    /// Connections since the start.
    pub fn connections(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub fn open_connections(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// How often everything was cut.
    pub fn cuts(&self) -> u64 {
        *self.state.cuts.borrow()
    }

    /// Plans one cut, counted from the start of the proxy. It happens once.
    pub fn cut_at(&self, cut: Cut) {
        *self.state.plan() = Some(cut);
    }

    /// Cuts every connection now.
    pub fn cut_now(&self, then: AfterCut) {
        self.state.cut(then);
    }

    /// Whether new connections are refused.
    pub fn refuse(&self, refuses: bool) {
        self.state.refuses.send_replace(refuses);
    }

    /// Nothing passes while frozen, and nothing is closed: a network that swallows packets.
    pub fn freeze(&self, frozen: bool) {
        self.state.frozen.send_replace(frozen);
    }

    /// No fault any more: nothing planned, refused or frozen.
    pub fn heal(&self) {
        *self.state.plan() = None;
        self.refuse(false);
        self.freeze(false);
    }

    /// Waits until everything was cut so many times since the start.
    pub async fn wait_for_cuts(&self, count: u64) {
        let mut cuts = self.state.cuts.subscribe();
        let _ = cuts.wait_for(|cuts| *cuts >= count).await;
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn plan(&self) -> std::sync::MutexGuard<'_, Option<Cut>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, then: AfterCut) {
        if then == AfterCut::Refuse {
            self.refuses.send_replace(true);
        }
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Counts bytes that are about to pass. `Some`: only so many of them may, and then everything is cut.
    fn count(&self, direction: Direction, bytes: u64) -> Option<(u64, AfterCut)> {
        let mut plan = self.plan();
        let counter = match direction {
            Direction::FromClient => &self.from_client,
            Direction::FromServer => &self.from_server,
        };
        let before = counter.load(Ordering::SeqCst);
        let allowed = plan.filter(|cut| cut.direction == direction && before + bytes >= cut.after_bytes);
        let passing = allowed.map_or(bytes, |cut| cut.after_bytes.saturating_sub(before).min(bytes));
        counter.store(before + passing, Ordering::SeqCst);
        if allowed.is_some() {
            *plan = None;
        }
        allowed.map(|cut| (passing, cut.then))
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                state.accepted.fetch_add(1, Ordering::SeqCst);
                if *state.refuses.borrow() {
                    reset(&client);
                    continue;
                }
                connections.spawn(connection(client, state.clone()));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Makes the close that follows a reset: the peer sees an error, not an orderly end.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn connection(mut client: TcpStream, state: Arc<State>) {
    let mut cuts = state.cuts.subscribe();
    let Ok(mut server) = TcpStream::connect(state.target).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    state.open.fetch_add(1, Ordering::SeqCst);
    let cut = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let pumps = async {
            tokio::join!(
                pump(client_read, server_write, Direction::FromClient, &state),
                pump(server_read, client_write, Direction::FromServer, &state),
            )
        };
        tokio::select! {
            _ = cuts.changed() => true,
            _ = pumps => false,
        }
    };
    if cut {
        reset(&client);
        reset(&server);
    }
    state.open.fetch_sub(1, Ordering::SeqCst);
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, direction: Direction, state: &State) {
    let mut frozen = state.frozen.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let _ = frozen.wait_for(|frozen| !frozen).await;
        if let Some((passing, then)) = state.count(direction, length as u64) {
            let _ = to.write_all(&buffer[..usize::try_from(passing).unwrap_or(0)]).await;
            state.cut(then);
            // The cut ends this connection, and all others.
            return std::future::pending().await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
