//! Passes bytes on from one end of a connection to the other, and counts them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::call::Call;
use super::refusal::Limit;

/// Bytes that are passed on at a time.
const PIECE: usize = 16 * 1024;

/// Why no more bytes are passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The call has used up its bytes.
    #[error("{0}")]
    Limit(#[from] Limit),
    /// One of the ends is gone.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The target's answer has no head that could be passed on.
    #[error("{0}")]
    Headless(String),
    /// The client sent more than its one request.
    #[error("the client sent more than one request")]
    Overlong,
}

/// Passes on everything until `from` ends.
pub(super) async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    call: &Call,
    moved: &AtomicU64,
) -> Result<(), Broken> {
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        put(&piece[..count], to, call, moved).await?;
    }
}

/// Passes on `bytes`.
pub(super) async fn put(
    bytes: &[u8],
    to: &mut (impl AsyncWrite + Unpin),
    call: &Call,
    moved: &AtomicU64,
) -> Result<(), Broken> {
    call.add(bytes.len())?;
    to.write_all(bytes).await?;
    moved.fetch_add(u64::try_from(bytes.len()).unwrap_or(0), Ordering::Relaxed);
    Ok(())
}
