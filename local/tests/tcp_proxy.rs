//! The TCP proxy between real sockets.

use std::net::SocketAddr;

use local::proxy::{AfterCut, Bytes, Cut, Direction, TcpProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that answers every byte with two.
async fn doubling_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() {
                    if stream.write_all(&[byte[0]; 2]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn ask(stream: &mut TcpStream, byte: u8) -> std::io::Result<[u8; 2]> {
    stream.write_all(&[byte]).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.map(|_| answer)
}

#[tokio::test]
async fn bytes_pass_and_are_counted() {
    let proxy = TcpProxy::start(doubling_server().await).await.expect("proxy");
    let mut stream = TcpStream::connect(proxy.address).await.expect("connect");
    for byte in 0..100 {
        assert_eq!(ask(&mut stream, byte).await.expect("answer"), [byte; 2]);
    }
    assert_eq!(proxy.bytes(), Bytes { from_client: 100, from_server: 200 });
    assert_eq!((proxy.connections(), proxy.open_connections()), (1, 1));
}

#[tokio::test]
async fn a_cut_happens_at_its_byte_once_and_everywhere() {
    let proxy = TcpProxy::start(doubling_server().await).await.expect("proxy");
    proxy.cut_at(Cut { direction: Direction::FromServer, after_bytes: 11, then: AfterCut::Accept });
    let mut first = TcpStream::connect(proxy.address).await.expect("connect");
    let mut second = TcpStream::connect(proxy.address).await.expect("connect");
    ask(&mut second, 1).await.expect("answer");
    for byte in 0..4 {
        assert_eq!(ask(&mut first, byte).await.expect("answer"), [byte; 2]);
    }
    ask(&mut first, 9).await.expect_err("the eleventh byte is the last");
    proxy.wait_for_cuts(1).await;
    ask(&mut second, 2).await.expect_err("everything is cut");
    assert_eq!(proxy.bytes().from_server, 11);
    let mut third = TcpStream::connect(proxy.address).await.expect("connect");
    assert_eq!(ask(&mut third, 7).await.expect("the network is back"), [7; 2]);
}

#[tokio::test]
async fn a_server_that_is_gone_stays_gone_until_healed() {
    let proxy = TcpProxy::start(doubling_server().await).await.expect("proxy");
    let mut stream = TcpStream::connect(proxy.address).await.expect("connect");
    proxy.cut_now(AfterCut::Refuse);
    ask(&mut stream, 1).await.expect_err("cut");
    let refused = async { ask(&mut TcpStream::connect(proxy.address).await?, 1).await };
    refused.await.expect_err("refused");
    proxy.heal();
    let mut stream = TcpStream::connect(proxy.address).await.expect("connect");
    assert_eq!(ask(&mut stream, 3).await.expect("healed"), [3; 2]);
}

#[tokio::test]
async fn a_frozen_network_loses_nothing() {
    let proxy = TcpProxy::start(doubling_server().await).await.expect("proxy");
    let mut stream = TcpStream::connect(proxy.address).await.expect("connect");
    proxy.freeze(true);
    stream.write_all(&[5]).await.expect("write");
    let mut answer = [0; 2];
    tokio::select! {
        biased;
        _ = stream.read_exact(&mut answer) => panic!("it is frozen"),
        () = async { for _ in 0..1_000 { tokio::task::yield_now().await } } => {}
    }
    proxy.freeze(false);
    stream.read_exact(&mut answer).await.expect("thawed");
    assert_eq!(answer, [5; 2]);
}
