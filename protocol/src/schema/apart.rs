//! Checks that may take long, or go deep, on threads of their own.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Bytes of stack of such a check. Checks are recursive: a schema that refers to itself by a chain of 190 references, for
/// a value of 64 levels, needs several million. Only what is used is taken from the machine.
pub(super) const STACK: usize = 64 << 20;

/// Runs a check that is not [quick](super::Schema::is_quick) on a thread of its own, and gives its answer. Nobody has to wait
/// for that, not even at the end of the process. An error: the system gives no thread.
pub fn check_apart<T: Send + 'static>(
    name: &str,
    check: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (answer, answered) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    // Nobody may be left to hear it.
    thread.spawn(move || drop(answer.send(check())))?;
    Ok(answered)
}
