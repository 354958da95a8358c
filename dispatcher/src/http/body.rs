//! Reading a body, never more of it than allowed.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use protocol::error::{Code, Problem};

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes of a JSON body, at most `limit`. One that says it is longer is refused before it is read.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    json_type(headers)?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| usize::try_from(length).map_or(true, |length| length > limit)) {
        return Err(too_large(limit));
    }
    let broken = |what: &str| Problem::new(Code::BodyNotJson, format!("the body did not arrive: {what}"));
    let reading = async {
        let mut bytes = Vec::new();
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| broken("the connection broke off"))?;
            if bytes.len() + piece.len() > limit {
                return Err(too_large(limit));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    let seconds = PATIENCE.as_secs();
    tokio::time::timeout(PATIENCE, reading)
        .await
        .unwrap_or_else(|_| Err(broken(&format!("{seconds} seconds were not enough"))))
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("the body has more than {limit} bytes"))
}

/// Refuses a body that says it is something else than JSON.
fn json_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or("?");
    let kind = text.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = format!("the body is {kind:?}; send JSON with Content-Type: application/json");
    Err(Problem::new(Code::MediaTypeUnsupported, detail))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_json_is_taken_and_silence_counts_as_json() {
        let check = |kind: Option<&'static str>| {
            let headers = kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind)));
            json_type(&headers.into_iter().collect()).map_err(|problem| problem.code)
        };
        assert_eq!(check(None), Ok(()));
        assert_eq!(check(Some("Application/JSON; charset=utf-8")), Ok(()));
        assert_eq!(check(Some("application/x-www-form-urlencoded")), Err(Code::MediaTypeUnsupported));
    }
}
