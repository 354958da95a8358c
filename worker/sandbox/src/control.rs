//! A socket of packets between the worker and a launched program, which can carry descriptors (SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The largest packet, in bytes.
const PACKET_BYTES: usize = 4096;
/// Descriptors that come with a packet at most; the kernel closes what is beyond.
const DESCRIPTORS: usize = 7;

/// The worker's end.
#[derive(Debug)]
pub struct Control {
    /// Tokio has no type for sockets of packets; we use its waiting only and do the calls ourselves.
    socket: UnixStream,
}

/// One packet.
#[derive(Debug, Default)]
pub struct Packet {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The descriptors that came with it.
    pub descriptors: Vec<OwnedFd>,
}

impl Control {
    /// A pair of connected sockets: ours, and the other program's. Needs a Tokio runtime.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok((Self { socket: UnixStream::from_std(ours.into())? }, theirs))
    }

    /// Sends one packet. Fails if the other end is closed.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_with(bytes, &[]).await
    }

    /// The same with copies of descriptors, seven at most.
    pub async fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let slices = [IoSlice::new(bytes)];
            rustix::net::sendmsg(&self.socket, &slices, &mut ancillary, SendFlags::NOSIGNAL)?;
            Ok(())
        };
        self.socket.async_io(Interest::WRITABLE, send).await
    }

    /// The next packet, `None` when the other end is closed. Cancelling the wait loses nothing.
    pub async fn receive(&self) -> io::Result<Option<Packet>> {
        self.socket.async_io(Interest::READABLE, || receive(&self.socket)).await
    }
}

fn receive(socket: &UnixStream) -> io::Result<Option<Packet>> {
    let mut bytes = vec![0; PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let size = rustix::net::recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors = rights.flatten().collect();
    bytes.truncate(size);
    // A packet of ours is never empty.
    Ok((size > 0).then_some(Packet { bytes, descriptors }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_keep_their_bounds_and_bring_descriptors() {
        let (ours, theirs) = Control::pair().unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let file = std::fs::File::open("/dev/null").unwrap();
        let files = [std::os::fd::AsFd::as_fd(&file)];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&files)));
        let slices = [IoSlice::new(b"one")];
        rustix::net::sendmsg(&theirs, &slices, &mut ancillary, SendFlags::empty()).unwrap();
        rustix::net::send(&theirs, b"two", SendFlags::empty()).unwrap();

        let first = ours.receive().await.unwrap().unwrap();
        assert_eq!((first.bytes.as_slice(), first.descriptors.len()), (b"one".as_slice(), 1));
        let second = ours.receive().await.unwrap().unwrap();
        assert_eq!((second.bytes.as_slice(), second.descriptors.len()), (b"two".as_slice(), 0));

        drop(theirs);
        assert!(ours.receive().await.unwrap().is_none());
        assert!(ours.send(b"three").await.is_err());
    }
}
