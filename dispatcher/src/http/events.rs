//! `/v1/jobs/{id}/events`: the events of a job as they come, as SSE or as NDJSON.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use axum::response::{IntoResponse, Response};
use protocol::error::Problem;
use protocol::event::Event;

use super::params::{Params, invalid};
use super::{Segment, answer, auth, jobs};
use crate::access::Verb;
use crate::dispatcher::Dispatcher;
use crate::outcome::EventReader;

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `text/event-stream`.
    Sse,
    /// `application/x-ndjson`: one event on each line.
    Lines,
}

/// `GET /v1/jobs/{id}/events`: behind `Last-Event-ID` or `?after=N`, up to the `result` event.
pub(super) async fn read(
    State(dispatcher): State<Dispatcher>,
    id: Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    answer(&dispatcher, Verb::ReadEvents, async {
        let caller = auth::caller(&dispatcher, &headers, Verb::ReadEvents).await?;
        let after = after(&uri, &headers)?;
        let reader = dispatcher.events(&caller, jobs::job_id(id)?, after).await?;
        Ok(stream(reader, format(&headers), dispatcher.options().keep_alive))
    })
    .await
}

fn stream(reader: EventReader, format: Format, keep_alive: Duration) -> Response {
    let pieces = futures_util::stream::unfold(reader, move |mut reader| async move {
        let piece = match format {
            Format::Sse => match tokio::time::timeout(keep_alive, reader.next()).await {
                Ok(events) => write(&events?, format),
                // A comment: it shows both ends that the connection lives.
                Err(_) => Bytes::from_static(b":\n\n"),
            },
            Format::Lines => write(&reader.next().await?, format),
        };
        Some((Ok::<_, std::convert::Infallible>(piece), reader))
    });
    let kind = match format {
        Format::Sse => "text/event-stream",
        Format::Lines => "application/x-ndjson",
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that gather an answer before they pass it on would hold events back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

fn write(events: &[Event], format: Format) -> Bytes {
    let mut text = String::new();
    for event in events {
        // A handler's own text may be spread over lines; in JSON a line break is only ever a blank.
        let json = serde_json::to_string(event).unwrap_or_default().replace(['\n', '\r'], " ");
        match format {
            Format::Sse => {
                let (seq, kind) = (event.seq, event.kind.as_str());
                text.push_str(&format!("id: {seq}\nevent: {kind}\ndata: {json}\n\n"));
            }
            Format::Lines => {
                text.push_str(&json);
                text.push('\n');
            }
        }
    }
    Bytes::from(text)
}

/// The number behind which the reader starts. A browser that reconnects repeats its URL and adds the
/// header, so the header goes first.
fn after(uri: &Uri, headers: &HeaderMap) -> Result<u64, Problem> {
    let rule = "must be the number of an event";
    let param = Params::of(uri, &["after"])?.parsed("after", rule)?;
    // A browser that has seen no event yet may send the header empty.
    let header = headers.get("last-event-id").filter(|value| !value.is_empty()).map(|value| {
        let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| invalid("Last-Event-ID", rule))
    });
    Ok(header.transpose()?.or(param).unwrap_or(0))
}

fn format(headers: &HeaderMap) -> Format {
    let lines = headers.get_all(header::ACCEPT).iter().any(|value| {
        value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("application/x-ndjson"))
    });
    if lines { Format::Lines } else { Format::Sse }
}

#[cfg(test)]
mod tests {
    use protocol::event::EventKind;
    use protocol::json::Json;
    use protocol::time::Timestamp;

    use super::*;

    #[test]
    fn an_event_never_spreads_over_lines() {
        let event = Event {
            seq: 7,
            kind: EventKind::Chunk,
            at: Timestamp::from_millis(0),
            attempt: 1,
            data: Json::parse("{\n\"a\":\r\n1}".into()).unwrap(),
        };
        let json =
            r#"{"seq":7,"type":"chunk","at":"1970-01-01T00:00:00.000Z","attempt":1,"data":{ "a":  1}}"#;
        assert_eq!(write(std::slice::from_ref(&event), Format::Lines), format!("{json}\n"));
        assert_eq!(write(&[event], Format::Sse), format!("id: 7\nevent: chunk\ndata: {json}\n\n"));
    }

    #[test]
    fn the_header_goes_before_the_parameter() {
        let check = |query: &'static str, header: Option<&'static str>| {
            let headers =
                header.map(|value| (HeaderName::from_static("last-event-id"), value.parse().unwrap()));
            after(&Uri::from_static(query), &headers.into_iter().collect()).ok()
        };
        assert_eq!(check("/", None), Some(0));
        assert_eq!(check("/?after=3", None), Some(3));
        assert_eq!(check("/?after=3", Some("5")), Some(5));
        assert_eq!(check("/?after=3", Some("")), Some(3));
        assert_eq!(check("/?after=-1", None), None);
        assert_eq!(check("/", Some("x")), None);
    }
}
