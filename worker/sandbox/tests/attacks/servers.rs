//! What handlers could want to reach, on this machine: an open server, the fleet's own, others; and the gate before it.
//!
//! The operator has opened 127.77.0.0/16 (all of 127.0.0.0/8 is this machine), so the rest of the loopback stays what
//! it is: the host's.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use worker::egress::{Gate, Own};

/// Where the servers are.
pub(crate) struct Servers {
    /// Answers HTTP; opened by the operator.
    pub(crate) open: SocketAddr,
    /// The fleet's own, in the opened range.
    pub(crate) own: SocketAddr,
    /// On the host's loopback, which nobody opened.
    pub(crate) host: SocketAddr,
    gate: Gate,
}

/// Started when they are first asked for; they live as long as the program.
pub(crate) async fn servers() -> &'static Servers {
    static SERVERS: OnceCell<Servers> = OnceCell::const_new();
    SERVERS.get_or_init(start).await
}

/// The gate of every slot.
pub(crate) async fn gate() -> &'static Gate {
    &servers().await.gate
}

async fn start() -> Servers {
    let (open, own, host) =
        (serve("127.77.0.1:0").await, serve("127.77.0.9:0").await, serve("127.0.0.1:0").await);
    let gate = Gate::with_names(&["127.77.0.0/16".parse().unwrap()], &[Own::from(own)], resolve);
    Servers { open, own, host, gate }
}

/// The names that there are.
fn resolve(name: &str) -> Vec<IpAddr> {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let address = match name {
        "open.test" => "127.77.0.1",
        "own.test" => "127.77.0.9",
        "metadata.google.internal" | "metadata.test" => "169.254.169.254",
        "localhost.test" => "127.0.0.1",
        // One that is allowed when it is looked at, and the host itself when it is looked at again.
        "rebind.test" if ASKED.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => "127.77.0.1",
        "rebind.test" => "127.0.0.1",
        _ => return Vec::new(),
    };
    vec![address.parse().unwrap()]
}

/// A server that answers each request with `reached`, or sends the client to what the path names: `/to/URL`.
async fn serve(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read_buf(&mut request).await {
                        Ok(count) if count > 0 => {}
                        _ => return,
                    }
                }
                let text = String::from_utf8_lossy(&request).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default();
                let answer = match path.split_once("/to/") {
                    Some((_, url)) => format!("302 Found\r\nLocation: {url}\r\nContent-Length: 0"),
                    None => "200 OK\r\nContent-Length: 7".to_owned(),
                };
                let body = if path.contains("/to/") { "" } else { "reached" };
                let whole = format!("HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n{body}");
                let _ = stream.write_all(whole.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}
