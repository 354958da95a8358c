//! One connection through the gate: head, check, connect, carry.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Span;

use super::Slot;
use super::call::Call;
use super::carry::{Broken, carry, put};
use super::head::{self, Answer, Ask};
use super::refusal::Refusal;
use crate::egress::Record;

/// The answer to CONNECT, to the letter: the runner's `network.py` reads exactly as many bytes.
const CONNECTED: &[u8] = b"HTTP/1.1 200 Connected\r\n\r\n";
/// How long a refused client may take to read why.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Bytes of a refused client that are read and dropped, so that it gets to read why.
const DRAINED: u64 = 256 * 1024;

/// Serves a connection to its end.
pub(super) async fn serve(slot: &Slot, mut client: TcpStream, call: Option<Arc<Call>>) {
    let span = call.as_ref().map_or_else(Span::none, |call| call.span.clone());
    let mut record = Record::new(&slot.metrics, span);
    let mut buffer = Vec::new();
    let serving = async {
        // Answers in small pieces are not to wait for each other.
        let _ = client.set_nodelay(true);
        let (ask, length) = request(&mut client, &mut buffer, call.as_deref()).await?;
        record.target = Some(ask.target().clone());
        let call = call.as_deref().ok_or(Refusal::NoCall)?;
        let permit = call.connection()?;
        let target = connect(slot, &ask, call, &mut record).await?;
        Ok::<_, Refusal>((ask, target, permit, length))
    };
    let opened = tokio::select! {
        biased;
        () = over(call.as_deref()) => return,
        opened = serving => opened,
    };
    match (opened, &call) {
        (Err(refusal), _) => refuse(&mut client, &refusal, &mut record).await,
        (Ok((ask, mut target, _permit, length)), Some(call)) => {
            let early = buffer.split_off(length);
            let done = tokio::select! {
                biased;
                () = call.over() => Err(None),
                done = exchange(ask, early, &mut client, &mut target, call, &record) => done.map_err(Some),
            };
            match done {
                Ok(()) => record.end("served", ""),
                Err(Some(Broken::Headless(reason))) => {
                    refuse(&mut client, &Refusal::Unreachable(reason), &mut record).await;
                }
                Err(broken) => {
                    // What is cut short must not look complete.
                    let _ = (client.set_zero_linger(), target.set_zero_linger());
                    match broken {
                        None => record.end("closed", ""),
                        Some(Broken::Limit(limit)) => record.end("limited", limit),
                        Some(broken) => record.end("broken", broken),
                    }
                }
            }
        }
        // Without a call nothing was opened.
        (Ok(_), None) => {}
    }
}

/// Returns when the call is over; never without a call.
async fn over(call: Option<&Call>) {
    match call {
        Some(call) => call.over().await,
        None => std::future::pending().await,
    }
}

/// What the client asks for, and the length of its head.
async fn request(
    client: &mut TcpStream,
    buffer: &mut Vec<u8>,
    call: Option<&Call>,
) -> Result<(Ask, usize), Refusal> {
    let patience = call.map_or(LAST_WORDS, |call| call.limits().head);
    match timeout(patience, head::read(client, buffer, head::request)).await {
        Ok(read) => read.map_err(Refusal::Invalid),
        Err(_) => Err(Refusal::Invalid("the head of the request took too long".into())),
    }
}

/// A connection to one of the target's addresses that may be connected to.
async fn connect(slot: &Slot, ask: &Ask, call: &Call, record: &mut Record) -> Result<TcpStream, Refusal> {
    let target = ask.target();
    let late = || Refusal::TimedOut(format!("{target} did not answer in {:?}", call.limits().connect));
    let until = Instant::now() + call.limits().connect;
    let found = timeout_at(until, slot.gate.find(target, call.egress())).await.map_err(|_| late())??;
    let (mut left, mut last) = (u32::try_from(found.len()).unwrap_or(1), None);
    for address in found {
        record.address = Some(address);
        // One that doesn't answer leaves time for the others.
        let share = until.saturating_duration_since(Instant::now()) / left.max(1);
        left -= 1;
        match timeout(share, to(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
    }
    let refused = |error| Refusal::Unreachable(format!("{target} can't be reached: {error}"));
    Err(last.map_or_else(late, refused))
}

async fn to(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Everything between client and target. `early` is what came right behind the head.
async fn exchange(
    ask: Ask,
    early: Vec<u8>,
    client: &mut TcpStream,
    target: &mut TcpStream,
    call: &Call,
    record: &Record,
) -> Result<(), Broken> {
    let (from_client, mut to_client) = client.split();
    let (mut from_target, mut to_target) = target.split();
    let mut from_client = Cursor::new(early).chain(from_client);
    match ask {
        Ask::Tunnel(_) => {
            to_client.write_all(CONNECTED).await?;
            let up = async {
                carry(&mut from_client, &mut to_target, call, &record.sent).await?;
                Ok::<_, Broken>(to_target.shutdown().await?)
            };
            let down = async {
                carry(&mut from_target, &mut to_client, call, &record.received).await?;
                Ok::<_, Broken>(to_client.shutdown().await?)
            };
            tokio::try_join!(up, down).map(|_| ())
        }
        Ask::Forward { head, body, .. } => {
            let up = async {
                put(&head, &mut to_target, call, &record.sent).await?;
                match carry(&mut (&mut from_client).take(body), &mut to_target, call, &record.sent).await {
                    // A second request is not for this connection.
                    Ok(()) if from_client.read(&mut [0]).await? > 0 => return Err(Broken::Overlong),
                    // A target that reads no more may still have an answer.
                    Ok(()) | Err(Broken::Io(_)) => {}
                    Err(limit) => return Err(limit),
                }
                // The client has no more to say, or has gone, which the target learns by this. The answer decides.
                let _ = to_target.shutdown().await;
                std::future::pending().await
            };
            let down = async {
                let mut buffer = Vec::new();
                loop {
                    let read = head::read(&mut from_target, &mut buffer, head::answer).await;
                    let (Answer { head, last }, length) = read.map_err(Broken::Headless)?;
                    put(&head, &mut to_client, call, &record.received).await?;
                    buffer.drain(..length);
                    if last {
                        let mut from_target = Cursor::new(buffer).chain(&mut from_target);
                        carry(&mut from_target, &mut to_client, call, &record.received).await?;
                        break;
                    }
                }
                Ok(to_client.shutdown().await?)
            };
            tokio::select! {
                up = up => up,
                down = down => down,
            }
        }
    }
}

/// Tells why there is no connection or no answer, and lets the client read it: data that it has sent meanwhile would
/// make the system reset the connection.
async fn refuse(client: &mut TcpStream, refusal: &Refusal, record: &mut Record) {
    record.end(refusal.outcome(), refusal);
    let telling = async {
        client.write_all(refusal.answer().as_bytes()).await?;
        client.shutdown().await?;
        tokio::io::copy(&mut client.take(DRAINED), &mut tokio::io::sink()).await
    };
    // Whoever doesn't read it doesn't want to know.
    let _ = timeout(LAST_WORDS, telling).await;
}
