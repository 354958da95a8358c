//! Text that a handler printed, on its way to log events: neighbouring lines that wait together become one event,
//! and raw bytes become text.

use protocol::limits;

use crate::handler::LogStream;

/// How much text one merged event has at most, roughly.
const MERGED_BYTES: usize = 8 * 1024;

/// Puts neighbouring pieces of one stream together, so that a handler that prints a lot makes few events.
#[derive(Debug, Default)]
pub(super) struct Merger {
    held: Option<(LogStream, String)>,
}

impl Merger {
    /// Adds a piece; what must go out before it.
    pub(super) fn push(&mut self, stream: LogStream, text: String) -> Option<(LogStream, String)> {
        match &mut self.held {
            Some((held_stream, held)) if *held_stream == stream && held.len() < MERGED_BYTES => {
                held.push_str(&text);
                None
            }
            held => held.replace((stream, text)),
        }
    }

    /// What is held, to go out now.
    pub(super) fn take(&mut self) -> Option<(LogStream, String)> {
        self.held.take()
    }
}

/// Raw output of a call (descriptors 1 and 2: subprocesses, `os.write`): bytes of any kind and amount.
#[derive(Debug, Default)]
pub(super) struct RawText {
    /// The beginning of a character whose end has not come.
    partial: Vec<u8>,
    told: usize,
}

impl RawText {
    /// The text that `bytes` complete. Nothing once more was told than a call may log: the event sink has marked
    /// the cut, and the rest is read only to be thrown away.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<String> {
        if self.told > limits::LOG_BYTES {
            return None;
        }
        self.partial.extend_from_slice(bytes);
        let rest = self.partial.split_off(complete(&self.partial));
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.partial, rest)).into_owned();
        self.told += text.len();
        (!text.is_empty()).then_some(text)
    }
}

/// The length of `bytes` without a character that is cut at their end.
fn complete(bytes: &[u8]) -> usize {
    let end = bytes.len();
    let cut = (1..=end.min(3)).find_map(|back| {
        let width = match bytes[end - back] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => return None,
            _ => 1,
        };
        Some(if width > back { end - back } else { end })
    });
    cut.unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_stream_become_one_event() {
        let mut merger = Merger::default();
        assert_eq!(merger.push(LogStream::Stdout, "a\n".into()), None);
        assert_eq!(merger.push(LogStream::Stdout, "b\n".into()), None);
        let out = merger.push(LogStream::Stderr, "c\n".into());
        assert_eq!(out, Some((LogStream::Stdout, "a\nb\n".into())));
        assert_eq!(merger.take(), Some((LogStream::Stderr, "c\n".into())));
        assert_eq!(merger.take(), None);
    }

    #[test]
    fn characters_that_come_in_pieces_stay_whole_and_garbage_is_shown_as_such() {
        let mut raw = RawText::default();
        let bytes = "é☕🦀".as_bytes();
        let text: String = bytes.iter().filter_map(|byte| raw.push(&[*byte])).collect();
        assert_eq!(text, "é☕🦀");
        assert_eq!(raw.push(b"\xff\xfea").unwrap(), "\u{fffd}\u{fffd}a");
    }

    #[test]
    fn a_flood_is_told_a_little_past_the_limit_and_then_no_more() {
        let mut raw = RawText::default();
        let told: usize = (0..1000).filter_map(|_| raw.push(&[b'x'; 8192])).map(|text| text.len()).sum();
        assert!(told > limits::LOG_BYTES && told < limits::LOG_BYTES + 16384);
    }
}
