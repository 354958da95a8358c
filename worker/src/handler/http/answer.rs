//! From an answer to an ending: status, size, media type, result.

use std::time::Duration;

use protocol::error::{Code, JobError};
use protocol::json::{self, Json};
use protocol::limits;
use protocol::outcome::Ending;
use protocol::time::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::{Map, Value, json};

use super::Failure;
use super::hop::Answer;
use super::sse::{Events, TooLarge};
use crate::handler::EventSink;

/// Bytes of an error's body that its details show.
const SHOWN_BYTES: usize = 2 * 1024;
/// Headers of an error that its details show.
const SHOWN_HEADERS: [&str; 5] = ["content-type", "retry-after", "x-request-id", "www-authenticate", "date"];

/// What an answer means. `pointer` leads to the result inside it.
pub(super) async fn read(
    answer: &mut Answer,
    pointer: Option<&str>,
    events: &EventSink,
) -> Result<Ending, Failure> {
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    if answer.status() == StatusCode::NO_CONTENT {
        return Ok(Ending::Returned(Json::null()));
    }
    let media = Media::of(answer.headers());
    if media == Media::EventStream {
        return stream(answer, pointer, events).await;
    }
    let body = all(answer).await?;
    result(body, media, pointer).map(Ending::Returned)
}

/// The media types that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    EventStream,
    Other,
}

impl Media {
    fn of(headers: &HeaderMap) -> Self {
        let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/event-stream" => Self::EventStream,
            "application/json" | "text/json" => Self::Json,
            other if other.ends_with("+json") => Self::Json,
            _ => Self::Other,
        }
    }
}

/// The whole body, if it isn't larger than a result may be.
async fn all(answer: &mut Answer) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > limits::RESULT_BYTES {
            return Err(too_large("the target's answer", limits::RESULT_BYTES));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The result in a body. Where a pointer says that the answer is JSON, its media type isn't asked.
fn result(body: Vec<u8>, media: Media, pointer: Option<&str>) -> Result<Json, Failure> {
    if body.is_empty() && pointer.is_none() {
        return Ok(Json::null());
    }
    let mut text = String::from_utf8(body)
        .map_err(|_| Failure::new(Code::HttpAnswerInvalid, "the target's answer is not UTF-8 text"))?;
    if media != Media::Json && pointer.is_none() {
        return Ok(Value::String(text).into());
    }
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    let answer = parse(text)
        .map_err(|reason| Failure::new(Code::HttpAnswerInvalid, format!("the target's answer {reason}")))?;
    pick(answer, pointer)
}

fn parse(text: String) -> Result<Json, String> {
    if json::depth(text.as_bytes()) > json::MAX_DEPTH {
        return Err(format!("nests deeper than {} levels", json::MAX_DEPTH));
    }
    Json::parse(text).map_err(|error| format!("is not JSON: {error}"))
}

/// The part of an answer that is the result.
fn pick(answer: Json, pointer: Option<&str>) -> Result<Json, Failure> {
    // Without a pointer the text is kept to the letter.
    let Some(pointer) = pointer.filter(|pointer| !pointer.is_empty()) else { return Ok(answer) };
    match answer.value().pointer(pointer) {
        Some(part) => Ok(part.clone().into()),
        None => {
            let message = format!("the target's answer has nothing at {pointer}");
            Err(Failure::new(Code::HttpAnswerInvalid, message))
        }
    }
}

/// Passes an event stream on as chunks; the result is the list of them.
async fn stream(answer: &mut Answer, pointer: Option<&str>, events: &EventSink) -> Result<Ending, Failure> {
    let mut reader = Events::default();
    let mut chunks = Chunks { events, list: Vec::new(), bytes: 0 };
    let large = |TooLarge| too_large("an event of the target", limits::CHUNK_BYTES);
    while let Some(piece) = answer.chunk().await? {
        for data in reader.feed(&piece).map_err(large)? {
            chunks.add(data).await?;
        }
    }
    if let Some(data) = reader.finish().map_err(large)? {
        chunks.add(data).await?;
    }
    let list = Json::of(&chunks.list).unwrap_or_else(|_| Json::null());
    pick(list, pointer).map(Ending::Returned)
}

struct Chunks<'a> {
    events: &'a EventSink,
    list: Vec<Json>,
    bytes: usize,
}

impl Chunks<'_> {
    async fn add(&mut self, data: String) -> Result<(), Failure> {
        let chunk = parse(data.clone()).unwrap_or_else(|_| Value::String(data).into());
        self.bytes += chunk.text().len() + 1;
        if self.bytes >= limits::RESULT_BYTES {
            return Err(too_large("the target's stream", limits::RESULT_BYTES));
        }
        self.list.push(chunk.clone());
        self.events.chunk(chunk).await;
        Ok(())
    }
}

fn too_large(what: &str, bytes: usize) -> Failure {
    Failure::new(Code::OutputTooLarge, format!("{what} has more than {bytes} bytes"))
}

/// The failure that an error status means.
async fn refused(answer: &mut Answer) -> Failure {
    let status = answer.status();
    let headers = answer.headers().clone();
    let mut body = Vec::new();
    // The rest, and an error on the way, tell nothing that the status doesn't.
    while body.len() <= SHOWN_BYTES
        && let Ok(Some(piece)) = answer.chunk().await
    {
        body.extend_from_slice(&piece);
    }
    let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let error = JobError::new(Code::HttpStatus, format!("the target answered {status}"));
    Failure {
        error: Box::new(error.with(details(status, &headers, &body))),
        retryable: retryable(status),
        retry_after: retry_after.and_then(|text| pause(text, Timestamp::now())),
    }
}

fn details(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Value {
    let cut = body.len() > SHOWN_BYTES;
    let mut text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]).into_owned();
    if cut {
        text.push_str("… [cut]");
    }
    let shown: Map<String, Value> = SHOWN_HEADERS
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), headers.get(name)?.to_str().ok()?.into())))
        .collect();
    json!({ "status": status.as_u16(), "body": text, "headers": shown })
}

/// Statuses that say "not now" rather than "not so".
fn retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error()
}

/// The pause that a `Retry-After` asks for: seconds, or a date.
fn pause(text: &str, now: Timestamp) -> Option<Duration> {
    match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Timestamp::parse_http_date(text.trim()).map(|at| at.since(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(body: &str, media: Media, pointer: Option<&str>) -> Result<String, Code> {
        let result = result(body.as_bytes().to_vec(), media, pointer);
        result.map(|json| json.text().to_owned()).map_err(|failure| failure.error.code)
    }

    #[test]
    fn results_are_picked_by_media_type_and_pointer() {
        let invalid = Err(Code::HttpAnswerInvalid);
        assert_eq!(text_of(r#"{"a": 1.50}"#, Media::Json, None), Ok(r#"{"a": 1.50}"#.into()));
        assert_eq!(text_of(r#"{"a":[1,2]}"#, Media::Json, Some("/a/1")), Ok("2".into()));
        assert_eq!(text_of(r#"{"a":[1,2]}"#, Media::Other, Some("/a/1")), Ok("2".into()));
        assert_eq!(text_of(r#"{"a":1}"#, Media::Json, Some("/b")), invalid);
        assert_eq!(text_of("hi", Media::Other, None), Ok("\"hi\"".into()));
        assert_eq!(text_of("hi", Media::Json, None), invalid);
        assert_eq!(text_of("", Media::Json, None), Ok("null".into()));
        assert_eq!(text_of("", Media::Other, Some("/a")), invalid);
        assert_eq!(text_of(&"[".repeat(100), Media::Json, None), invalid);
        assert!(result(vec![0xff], Media::Other, None).is_err());
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let now = Timestamp::parse("1994-11-06T08:49:30Z").unwrap();
        assert_eq!(pause("120", now), Some(Duration::from_secs(120)));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(pause("soon", now), None);
    }

    #[test]
    fn only_statuses_that_may_pass_are_retried() {
        let again: Vec<u16> = (300..600)
            .filter(|code| retryable(StatusCode::from_u16(*code).unwrap()))
            .filter(|code| *code < 500)
            .collect();
        assert_eq!(again, [408, 425, 429]);
        assert!(retryable(StatusCode::BAD_GATEWAY));
    }

    #[test]
    fn details_are_bounded_and_show_chosen_headers_only() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "1".parse().unwrap());
        headers.insert("set-cookie", "secret".parse().unwrap());
        let details = details(StatusCode::BAD_REQUEST, &headers, &vec![b'x'; SHOWN_BYTES + 1]);
        assert_eq!(details["headers"], json!({"retry-after": "1"}));
        assert!(details["body"].as_str().unwrap().ends_with("x… [cut]"));
    }
}
