//! What a wrapper is: something around every call of a port.

use std::sync::Arc;

use protocol::ports::PortError;

/// What happens around a call.
pub(crate) trait Around: Clone + Send + Sync + 'static {
    /// Makes the call, or not, and answers for it. `operation` is a name such as `store.claim`.
    fn call<T: Send>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, PortError>> + Send,
    ) -> impl Future<Output = Result<T, PortError>> + Send;

    /// Returns when a consumer may look for its next delivery.
    fn before_next(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// A port with something around it.
pub(crate) struct Wrapped<P: ?Sized, A> {
    pub(crate) inner: Arc<P>,
    pub(crate) around: A,
}
