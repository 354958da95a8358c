//! A few threads that take orders from one channel, until it is closed and empty.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::error::Failure;

/// The threads and the way to them. Dropping it lets them finish what they were told, and waits for that.
pub(crate) struct Crew<T> {
    orders: Mutex<Option<Sender<T>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<T: Send + 'static> Crew<T> {
    /// A crew whose threads `start` makes from the channel's end.
    pub(crate) fn new(
        start: impl FnOnce(Receiver<T>) -> std::io::Result<Vec<JoinHandle<()>>>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let threads = start(receiver)?;
        Ok(Self { orders: Mutex::new(Some(sender)), threads: Mutex::new(threads) })
    }

    /// A crew of one thread with this name, which does `work` with the channel's end.
    pub(crate) fn of_one(
        name: &str,
        work: impl FnOnce(Receiver<T>) + Send + 'static,
    ) -> std::io::Result<Self> {
        Self::new(|orders| Ok(vec![thread::Builder::new().name(name.into()).spawn(move || work(orders))?]))
    }

    /// Gives an order. Never waits: who gives one waits for its answer, or settles a delivery
    /// that is out, which bounds the channel.
    pub(crate) fn order(&self, order: T) -> Result<(), Failure> {
        let orders = lock(&self.orders);
        let sent = orders.as_ref().is_some_and(|sender| sender.send(order).is_ok());
        if sent { Ok(()) } else { Err(Failure::closed()) }
    }
}

impl<T> Crew<T> {
    /// Takes no more orders, and returns when the last one is done.
    pub(crate) fn close(&self) {
        drop(lock(&self.orders).take());
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the embedded file ended with a panic");
            }
        }
    }
}

impl<T> Drop for Crew<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The lock's content, even after a panic elsewhere: what these locks guard is whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
