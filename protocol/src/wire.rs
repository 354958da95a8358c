//! The envelope of jobs on the queue: private between dispatcher and worker, and versioned. Mostly it carries one job;
//! a backend may let short ones share a message.
//!
//! Rules for readers and writers of different releases: a reader ignores fields it doesn't know; a new
//! field has a default; a change that an old reader would misunderstand gets a new [`VERSION`], and a
//! release reads the version before its own as well. `protocol/fixtures/` keeps one message of every
//! version, and a test reads them all.

use serde::Deserialize;

use crate::job::JobSpec;
use crate::json;
use crate::limits;

/// The version that this release writes.
pub const VERSION: u32 = 1;

/// The media type of the envelope.
pub const MEDIA_TYPE: &str = "application/vnd.sortie.job+json";

#[derive(Deserialize)]
struct Mark {
    v: u32,
}

#[derive(Deserialize)]
struct Read {
    jobs: Vec<JobSpec>,
}

/// Why a message is not a job.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Larger than any job can be.
    #[error("the message has {0} bytes, more than any job")]
    TooLarge(usize),
    /// Deeper than anything that is accepted.
    #[error("the message nests too deep")]
    TooDeep,
    /// Written by a release that this one can't read.
    #[error("the message has version {0}, and this release reads version {VERSION}")]
    Version(u32),
    /// An envelope with another number of jobs than who reads it can have.
    #[error("the message has {0} jobs")]
    Count(usize),
    /// Not an envelope.
    #[error("the message carries no jobs: {0}")]
    Json(#[from] serde_json::Error),
}

/// A job as it stands in an envelope.
#[derive(Debug, Clone)]
pub struct Sheet(Vec<u8>);

impl Sheet {
    /// Writes a job.
    pub fn of(job: &JobSpec) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(job).map(Self)
    }

    /// How many bytes it takes.
    pub const fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// The bytes of the message that carries these jobs.
pub fn envelope(sheets: &[&Sheet]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + sheets.iter().map(|sheet| sheet.bytes() + 1).sum::<usize>());
    bytes.extend_from_slice(format!(r#"{{"v":{VERSION},"jobs":["#).as_bytes());
    for (place, sheet) in sheets.iter().enumerate() {
        if place > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(&sheet.0);
    }
    bytes.extend_from_slice(b"]}");
    bytes
}

/// The bytes of the message that carries `job` alone.
pub fn encode(job: &JobSpec) -> Result<Vec<u8>, serde_json::Error> {
    Ok(envelope(&[&Sheet::of(job)?]))
}

/// Reads a message with one job.
pub fn decode(bytes: &[u8]) -> Result<JobSpec, Malformed> {
    let [job] = <[JobSpec; 1]>::try_from(decode_all(bytes)?).map_err(|jobs| Malformed::Count(jobs.len()))?;
    Ok(job)
}

/// Reads a message, which may have been written by anyone. At least one job.
pub fn decode_all(bytes: &[u8]) -> Result<Vec<JobSpec>, Malformed> {
    // Everything but the inputs is small, and what shares a message is small as a whole.
    if bytes.len() > limits::BODY_BYTES * 2 {
        return Err(Malformed::TooLarge(bytes.len()));
    }
    if json::depth(bytes) > json::MAX_DEPTH + 4 {
        return Err(Malformed::TooDeep);
    }
    let mark: Mark = serde_json::from_slice(bytes)?;
    if mark.v != VERSION {
        return Err(Malformed::Version(mark.v));
    }
    match serde_json::from_slice::<Read>(bytes)?.jobs {
        jobs if jobs.is_empty() => Err(Malformed::Count(0)),
        jobs => Ok(jobs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../fixtures/envelope-v1.json");

    #[test]
    fn the_golden_message_reads_and_writes_back_the_same() {
        let job = decode(GOLDEN.trim_end().as_bytes()).unwrap();
        assert_eq!(job.action.as_str(), "weather.get");
        assert_eq!(String::from_utf8(encode(&job).unwrap()).unwrap(), GOLDEN.trim_end());
    }

    #[test]
    fn fields_of_a_later_release_are_ignored_and_later_versions_refused() {
        let later = GOLDEN
            .replace("\"v\":1", "\"v\":1,\"colour\":\"red\"")
            .replace("\"jobs\":[{", "\"jobs\":[{\"mood\":1,");
        assert!(decode(later.as_bytes()).is_ok());
        assert!(matches!(
            decode(GOLDEN.replace("\"v\":1", "\"v\":2").as_bytes()),
            Err(Malformed::Version(2))
        ));
    }

    #[test]
    fn one_message_carries_many() {
        let job = decode(GOLDEN.trim_end().as_bytes()).unwrap();
        let sheet = Sheet::of(&job).unwrap();
        let message = envelope(&[&sheet, &sheet, &sheet]);
        assert_eq!(decode_all(&message).unwrap(), vec![job; 3]);
        assert!(matches!(decode(&message), Err(Malformed::Count(3))));
    }

    #[test]
    fn anything_else_is_malformed() {
        for bytes in [
            &b""[..],
            b"\xff",
            b"{}",
            b"{\"v\":1}",
            b"{\"v\":1,\"jobs\":[]}",
            b"[1]",
            "[".repeat(200).as_bytes(),
        ] {
            assert!(decode(bytes).is_err());
        }
    }
}
