//! The way out of a slot: a proxy on a listener inside the slot's network namespace, which has no other way out.
//!
//! It speaks HTTP CONNECT and plain HTTP with absolute URIs. One connection is one target that was checked, for
//! one call: what is open belongs to that call, and nothing is open between calls. `call` is the budget of a call,
//! `connection` one connection from its head to its end, `head` reads and writes heads, `refusal` says no.

mod call;
mod carry;
mod connection;
mod head;
mod refusal;

use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::egress::Egress;
use protocol::limits;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::call::Call;
use super::Gate;
use crate::Metrics;

/// Connections of a slot that are looked after at the same time, those that will be refused included.
const CONNECTIONS: usize = 2 * limits::EGRESS_CONNECTIONS;
/// The pause after a connection could not be accepted, for want of descriptors for instance.
const PAUSE: Duration = Duration::from_millis(50);

/// What one call may do.
#[derive(Debug, Clone)]
pub struct CallPolicy {
    /// The action's allow-list; every public host if absent.
    pub egress: Option<Egress>,
    /// When the call ends at the latest.
    pub ends: Instant,
    /// How much it may do.
    pub limits: Limits,
}

/// How much one call may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// Connections in all.
    pub connections_per_call: u32,
    /// Bytes sent and received, together.
    pub bytes: u64,
    /// How long resolving and connecting may take.
    pub connect: Duration,
    /// How long the head of a request may take to arrive.
    pub head: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: limits::EGRESS_CONNECTIONS,
            connections_per_call: limits::EGRESS_CONNECTIONS_PER_CALL,
            bytes: limits::EGRESS_BYTES,
            connect: limits::EGRESS_CONNECT,
            head: limits::EGRESS_HEAD,
        }
    }
}

/// The gate of one slot. Dropping it closes everything.
#[derive(Debug)]
pub struct SlotGate {
    slot: Arc<Slot>,
    server: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// What the slot's connections share.
#[derive(Debug)]
struct Slot {
    gate: Gate,
    metrics: Metrics,
    now: Mutex<Now>,
}

/// Changed under one lock, so that every connection belongs to the call during which it was made.
#[derive(Debug, Default)]
struct Now {
    /// The same listener again, to empty its queue.
    listener: Option<TcpListener>,
    call: Option<Arc<Call>>,
}

/// A call for which the gate is open. Dropping it closes every connection of the call.
#[derive(Debug)]
#[must_use = "dropping it closes the gate"]
pub struct OpenCall {
    slot: Arc<Slot>,
    call: Arc<Call>,
}

impl SlotGate {
    /// A gate that is closed and has no listener yet.
    pub fn new(gate: Gate, metrics: Metrics) -> Self {
        let slot = Slot { gate, metrics, now: Mutex::default() };
        Self { slot: Arc::new(slot), server: Mutex::default() }
    }

    /// Serves `listener`, which came out of the slot's network namespace, in place of the one before. Must be called
    /// on the runtime.
    pub fn serve(&self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.slot.now().listener = Some(listener.try_clone()?);
        let server = tokio::spawn(accept(self.slot.clone(), tokio::net::TcpListener::from_std(listener)?));
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(AbortOnDropHandle::new(server));
        Ok(())
    }

    /// Opens the gate for a call that is about to start, and closes it for the one before. Connections that wait to
    /// be accepted were made before this and are dropped. Log lines get the current span.
    pub fn open(&self, policy: CallPolicy) -> OpenCall {
        let call = Arc::new(Call::new(policy));
        let mut now = self.slot.now();
        if let Some(listener) = &now.listener {
            // To ask first is a fifth of the price of an `accept` that finds none.
            while sandbox::is_readable(listener) && listener.accept().is_ok() {}
        }
        if let Some(before) = now.call.replace(call.clone()) {
            before.close();
        }
        drop(now);
        OpenCall { slot: self.slot.clone(), call }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut now = self.slot.now();
        if now.call.as_ref().is_some_and(|call| Arc::ptr_eq(call, &self.call)) {
            now.call = None;
        }
        self.call.close();
    }
}

impl Slot {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next connection, and the call that it belongs to.
    async fn next(&self, listener: &tokio::net::TcpListener) -> io::Result<(TcpStream, Option<Arc<Call>>)> {
        poll_fn(|context| {
            let now = self.now();
            listener.poll_accept(context).map_ok(|(stream, _)| (stream, now.call.clone()))
        })
        .await
    }
}

/// Accepts connections for as long as it isn't aborted, and ends them with itself.
async fn accept(slot: Arc<Slot>, listener: tokio::net::TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = slot.next(&listener) => match accepted {
                Ok((stream, call)) if connections.len() < CONNECTIONS => {
                    let slot = slot.clone();
                    connections.spawn(async move { connection::serve(&slot, stream, call).await });
                }
                // Dropping it tells enough to whoever has that many.
                Ok(_) => slot.metrics.egress_connections.with_label_values(&["limited"]).inc(),
                Err(error) => {
                    tracing::warn!(%error, "the egress gate can't accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
