//! Reads a `text/event-stream` piece by piece: the data of each event. Names, ids and comments are dropped.

use protocol::limits;

/// A stream whose end may come at any byte.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Option<String>,
    after_cr: bool,
    started: bool,
}

/// An event is larger than a chunk may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Events {
    /// The data of the events that `bytes` completes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLarge> {
        let mut complete = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => complete.extend(self.end_of_line()?),
                _ if self.line.len() >= limits::CHUNK_BYTES => return Err(TooLarge),
                _ => self.line.push(byte),
            }
        }
        Ok(complete)
    }

    /// The last event, where the stream ended without the blank line that should follow it.
    pub(super) fn finish(mut self) -> Result<Option<String>, TooLarge> {
        if !self.line.is_empty() {
            self.end_of_line()?;
        }
        Ok(self.data)
    }

    fn end_of_line(&mut self) -> Result<Option<String>, TooLarge> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if self.started { &line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.started = true;
        if line.is_empty() {
            return Ok(self.data.take());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        let size = self.data.as_ref().map_or(0, String::len);
        if size > limits::CHUNK_BYTES { Err(TooLarge) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, piece: usize) -> Vec<String> {
        let mut events = Events::default();
        let mut all = Vec::new();
        for bytes in text.as_bytes().chunks(piece) {
            all.extend(events.feed(bytes).unwrap());
        }
        all.extend(events.finish().unwrap());
        all
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = "\u{feff}data: {\"a\":1}\n\n: hello\nevent: x\nid: 7\ndata:b\r\ndata: ä\r\n\r\n\n\ndata\rretry: 1\r\r\
                    data: end";
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(read(text, piece), ["{\"a\":1}", "b\nä", "", "end"], "{piece}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let line = "x".repeat(limits::CHUNK_BYTES + 1);
        assert_eq!(Events::default().feed(line.as_bytes()), Err(TooLarge));
        let many = format!("data: {}\n", "x".repeat(1000)).repeat(limits::CHUNK_BYTES / 1000 + 1);
        assert_eq!(Events::default().feed(many.as_bytes()), Err(TooLarge));
    }
}
