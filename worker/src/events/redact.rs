//! Cuts the secrets of a call out of everything that leaves the worker: log, chunks, progress, results, errors.
//!
//! A guard against accidents, not against a handler that means to tell: what is taken apart or encoded in its own
//! way isn't recognised. Where occurrences overlap, all of it goes.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memmem::Finder;
use protocol::error::JobError;
use protocol::json::Json;
use protocol::limits;
use protocol::outcome::Ending;

use super::spellings;
use crate::secrets::Secrets;

/// What texts show where they were cut short (protocol, runner): before it, a secret may have lost its end.
const CUT: &str = "… [cut";
/// How much of a secret's beginning is cut out where its end is missing. Less tells nothing.
const PARTIAL: usize = 4;

/// Knows the secrets of one call. Without any it passes everything on as it is.
#[derive(Default)]
pub(crate) struct Redactor {
    spellings: Vec<Spelling>,
    shortest: usize,
}

struct Spelling {
    finder: Finder<'static>,
    /// For every beginning of the spelling, how much of its own end is a beginning again (Knuth, Morris, Pratt).
    borders: Vec<u32>,
    /// What stands there instead.
    mark: String,
}

/// The end of a log so far that may be the beginning of a secret: it waits for what follows.
#[derive(Default)]
pub(super) struct Held {
    end: String,
    /// An end that was long enough to be no accident and did not go on: somebody else (another thread, a process that
    /// the handler started) wrote in between. Its rest may still come.
    broken: String,
}

impl Redactor {
    /// One for these secrets.
    pub(crate) fn new(secrets: &Secrets) -> Self {
        let mut all: Vec<Spelling> = Vec::new();
        for (name, value) in secrets.iter() {
            for text in spellings::of(value.reveal()) {
                if !text.is_empty() && all.iter().all(|other| other.text() != text.as_bytes()) {
                    all.push(Spelling::new(&text, format!("[secret {name}]")));
                }
            }
        }
        let shortest = all.iter().map(|spelling| spelling.text().len()).min().unwrap_or_default();
        Self { spellings: all, shortest }
    }

    /// A text that is complete, or was cut short with a mark.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.spellings.is_empty() {
            return text.into();
        }
        let whole = self.replaced(text);
        if !whole.contains(CUT) {
            return whole;
        }
        let mut parts: Vec<Cow<'_, str>> = whole.split(CUT).map(Cow::Borrowed).collect();
        let last = parts.len() - 1;
        for part in &mut parts[..last] {
            // A character that was cut shows as this.
            let kept = part.trim_end_matches('\u{fffd}').to_owned();
            *part = self.without_beginning(kept).into();
        }
        parts.join(CUT).into()
    }

    /// A JSON text: its strings, however they are escaped, and its numbers. Everything else stays to the letter.
    pub(crate) fn json(&self, json: Json) -> Json {
        let text = json.text();
        if self.spellings.is_empty() || (!text.contains(['\\', '…']) && self.found(text).is_empty()) {
            return json;
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (token, after) = rest.split_at(token_length(rest));
            match first {
                '"' => self.string(token, &mut out),
                '-' | '0'..='9' => match self.replaced(token) {
                    Cow::Borrowed(number) => out.push_str(number),
                    Cow::Owned(text) => out.push_str(Json::from(serde_json::Value::String(text)).text()),
                },
                _ => out.push_str(token),
            }
            rest = after;
        }
        Json::parse(out).unwrap_or_else(|_| Json::null())
    }

    /// What an attempt ended with.
    pub(crate) fn ending(&self, ending: Ending) -> Ending {
        match ending {
            _ if self.spellings.is_empty() => ending,
            Ending::Returned(result) => Ending::Returned(self.json(result)),
            Ending::Failed { error, retryable, retry_after } => {
                Ending::Failed { error: self.error(error), retryable, retry_after }
            }
            Ending::Crashed(error) => Ending::Crashed(self.error(error)),
            Ending::TimedOut(error) => Ending::TimedOut(self.error(error)),
            Ending::DeadlinePassed | Ending::Cancelled | Ending::Interrupted => ending,
        }
    }

    /// The next piece of a log: what can go out now. A secret that comes in two pieces is found too.
    pub(super) fn feed<'a>(&self, held: &mut Held, text: &'a str) -> Cow<'a, str> {
        if self.spellings.is_empty() {
            return text.into();
        }
        let mut out = String::new();
        let mut start = std::mem::take(&mut held.end);
        if !held.broken.is_empty() && self.goes_on(&held.broken, text) {
            let between = std::mem::replace(&mut start, std::mem::take(&mut held.broken));
            if self.is_long_beginning(&between) {
                held.broken = between;
            } else {
                out.push_str(&self.replaced(&between));
            }
        } else if self.is_long_beginning(&start) && !self.goes_on(&start, text) {
            let older = std::mem::replace(&mut held.broken, std::mem::take(&mut start));
            out.push_str(&self.without_beginning(older));
        }
        let all = start + text;
        let end = self.beginning(&all).map_or(all.len(), |(at, _)| at);
        // An occurrence that overlaps the held end is held as well: the two may be one.
        let found = self.found(&all);
        let end = found
            .iter()
            .find(|(place, _)| place.start < end && place.end > end)
            .map_or(end, |(p, _)| p.start);
        held.end = all[end..].to_owned();
        out.push_str(&self.replaced(&all[..end]));
        out.into()
    }

    /// What was held, now that nothing follows.
    pub(super) fn flush(&self, held: &mut Held) -> String {
        let Held { end, broken } = std::mem::take(held);
        self.without_beginning(broken) + &self.without_beginning(self.replaced(&end).into_owned())
    }

    fn error(&self, error: JobError) -> JobError {
        let JobError { code, message, details } = error;
        let details = if details.is_null() { details } else { self.json(details.into()).value() };
        JobError::new(code, self.text(&message)).with(details)
    }

    /// One string of a JSON text, quotes and all.
    fn string(&self, token: &str, out: &mut String) {
        let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
        if inner.len() < self.shortest.min(PARTIAL) {
            out.push_str(token);
        } else if let Ok(value) = serde_json::from_str::<String>(token) {
            match self.text(&value) {
                clean if clean == value => out.push_str(token),
                clean => out.push_str(Json::from(serde_json::Value::String(clean.into_owned())).text()),
            }
        } else {
            // Half a surrogate pair has no value; the escaped spellings are found as they stand.
            out.push('"');
            out.push_str(&self.replaced(inner));
            out.push('"');
        }
    }

    /// The text with every occurrence replaced.
    fn replaced<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let found = self.found(text);
        if found.is_empty() {
            return text.into();
        }
        let (mut out, mut from) = (String::with_capacity(text.len()), 0);
        for (place, mark) in found {
            out.push_str(&text[from..place.start]);
            out.push_str(mark);
            from = place.end;
        }
        out.push_str(&text[from..]);
        out.into()
    }

    /// Where secrets are, in order; occurrences that overlap are one, with the mark of the first.
    fn found(&self, text: &str) -> Vec<(Range<usize>, &str)> {
        let mut places: Vec<(Range<usize>, &str)> = Vec::new();
        for spelling in self.spellings.iter().filter(|spelling| spelling.text().len() <= text.len()) {
            let starts = spelling.finder.find_iter(text.as_bytes());
            places.extend(starts.map(|at| (at..at + spelling.text().len(), spelling.mark.as_str())));
        }
        places.sort_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
        let mut merged: Vec<(Range<usize>, &str)> = Vec::new();
        for (place, mark) in places {
            match merged.last_mut() {
                Some((last, _)) if place.start < last.end => last.end = last.end.max(place.end),
                _ => merged.push((place, mark)),
            }
        }
        merged
    }

    /// Where the text's end begins that may be the beginning of a secret, if there is one, and its mark.
    fn beginning(&self, text: &str) -> Option<(usize, &str)> {
        let lengths =
            self.spellings.iter().map(|spelling| (spelling.overlap(text.as_bytes()), &spelling.mark));
        let (longest, mark) = lengths.max_by_key(|(length, _)| *length)?;
        (longest > 0).then(|| (text.len() - longest, mark.as_str()))
    }

    /// True if `text` is the beginning of a secret and nothing else, and as long as a whole one may be.
    fn is_long_beginning(&self, text: &str) -> bool {
        text.len() >= *limits::SECRET_BYTES.start()
            && self.beginning(text).is_some_and(|(at, _)| at == 0)
            && self.found(text).is_empty()
    }

    /// True if `text` goes on with the secret that `beginning` begins, as far as either reaches.
    fn goes_on(&self, beginning: &str, text: &str) -> bool {
        let rests =
            self.spellings.iter().filter_map(|spelling| spelling.text().strip_prefix(beginning.as_bytes()));
        rests.into_iter().any(|rest| rest.starts_with(text.as_bytes()) || text.as_bytes().starts_with(rest))
    }

    /// The text without the beginning of a secret at its end.
    fn without_beginning(&self, mut text: String) -> String {
        if let Some((at, mark)) = self.beginning(&text)
            && text.len() - at >= PARTIAL
        {
            text.truncate(at);
            text.push_str(mark);
        }
        text
    }
}

impl Spelling {
    fn new(text: &str, mark: String) -> Self {
        let bytes = text.as_bytes();
        let mut borders = vec![0_u32; bytes.len()];
        for end in 1..bytes.len() {
            let border = advance(bytes, &borders, borders[end - 1] as usize, bytes[end]);
            borders[end] = u32::try_from(border).unwrap_or_default();
        }
        Self { finder: Finder::new(bytes).into_owned(), borders, mark }
    }

    fn text(&self) -> &[u8] {
        self.finder.needle()
    }

    /// How many bytes at the end of `text` are a beginning of this spelling, but not all of it.
    fn overlap(&self, text: &[u8]) -> usize {
        let from = text.len().saturating_sub(self.text().len() - 1);
        text[from..].iter().fold(0, |length, byte| advance(self.text(), &self.borders, length, *byte))
    }
}

/// How much of `text` is matched after one more byte, where `length` bytes were before.
fn advance(text: &[u8], borders: &[u32], mut length: usize, byte: u8) -> usize {
    while length > 0 && text[length] != byte {
        length = borders[length - 1] as usize;
    }
    length + usize::from(text[length] == byte)
}

/// The length of the first string, number, word or sign of a JSON text.
fn token_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let plain = |byte: &u8| {
        !matches!(byte, b'"' | b'[' | b']' | b'{' | b'}' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n')
    };
    match bytes.first() {
        Some(b'"') => {
            let mut at = 1;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(bytes.len())
        }
        Some(byte) if plain(byte) => bytes.iter().position(|byte| !plain(byte)).unwrap_or(bytes.len()),
        _ => 1,
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} spellings)", self.spellings.len())
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({} bytes)", self.end.len() + self.broken.len())
    }
}

#[cfg(test)]
mod tests;
