//! The envelope of a job on the queue: private between dispatcher and worker, and versioned.
//!
//! Rules for readers and writers of different releases: a reader ignores fields it doesn't know; a new
//! field has a default; a change that an old reader would misunderstand gets a new [`VERSION`], and a
//! release reads the version before its own as well. `protocol/fixtures/` keeps one message of every
//! version, and a test reads them all.

use serde::{Deserialize, Serialize};

use crate::job::JobSpec;
use crate::json;
use crate::limits;

/// The version that this release writes.
pub const VERSION: u32 = 1;

/// The media type of the envelope.
pub const MEDIA_TYPE: &str = "application/vnd.sortie.job+json";

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    job: &'a JobSpec,
}

#[derive(Deserialize)]
struct Mark {
    v: u32,
}

#[derive(Deserialize)]
struct Read {
    job: JobSpec,
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
    /// Not an envelope.
    #[error("the message is not a job: {0}")]
    Json(#[from] serde_json::Error),
}

/// The bytes of the message that carries `job`.
pub fn encode(job: &JobSpec) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Written { v: VERSION, job })
}

/// Reads a message, which may have been written by anyone.
pub fn decode(bytes: &[u8]) -> Result<JobSpec, Malformed> {
    // Everything but the input is small.
    if bytes.len() > limits::BODY_BYTES * 2 {
        return Err(Malformed::TooLarge(bytes.len()));
    }
    if json::depth(bytes) > json::MAX_DEPTH + 3 {
        return Err(Malformed::TooDeep);
    }
    let mark: Mark = serde_json::from_slice(bytes)?;
    if mark.v != VERSION {
        return Err(Malformed::Version(mark.v));
    }
    Ok(serde_json::from_slice::<Read>(bytes)?.job)
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
            .replace("\"job\":{", "\"job\":{\"mood\":1,");
        assert!(decode(later.as_bytes()).is_ok());
        assert!(matches!(
            decode(GOLDEN.replace("\"v\":1", "\"v\":2").as_bytes()),
            Err(Malformed::Version(2))
        ));
    }

    #[test]
    fn anything_else_is_malformed() {
        for bytes in [&b""[..], b"\xff", b"{}", b"{\"v\":1}", b"[1]", "[".repeat(200).as_bytes()] {
            assert!(decode(bytes).is_err());
        }
    }
}
