//! How the gate says no: an HTTP answer whose first line says it all, because that line is what clients show.

use protocol::error::Code;
use serde_json::json;

use crate::egress::Refused;

/// Characters of the reason in the first line.
const REASON: usize = 400;

/// Why a connection was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// A rule, or the resolver, says so.
    #[error(transparent)]
    Target(#[from] Refused),
    /// The call has used up something.
    #[error(transparent)]
    Limit(#[from] Limit),
    /// There is no call.
    #[error("no call is running, and connections are made for calls only")]
    NoCall,
    /// The request can't be understood.
    #[error("{0}")]
    Invalid(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// Nobody answers in time.
    #[error("{0}")]
    TimedOut(String),
}

/// What a call has used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Limit {
    #[error("the call has {0} connections open, which is the limit; close some first")]
    AtOnce(usize),
    #[error("the call has opened {0} connections, which is the limit; keep and reuse them")]
    InAll(u32),
    #[error("the call has sent and received {0} bytes, which is the limit")]
    Bytes(u64),
    #[error("the time of the call is over")]
    Time,
}

impl Refusal {
    /// The outcome in logs and metrics.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::Target(refused) => refused.outcome(),
            Self::NoCall => "denied",
            Self::Unreachable(_) | Self::TimedOut(_) => "unreachable",
            Self::Limit(_) => "limited",
            Self::Invalid(_) => "invalid",
        }
    }

    /// The whole answer.
    pub(super) fn answer(&self) -> String {
        let detail = self.to_string();
        let (status, title) = match self {
            Self::Target(Refused::Denied(_)) | Self::Limit(_) | Self::NoCall => (403, "Egress denied"),
            Self::Target(Refused::Unresolved { .. }) | Self::Unreachable(_) => (502, "Egress failed"),
            Self::TimedOut(_) => (504, "Egress timed out"),
            Self::Invalid(_) => (400, "Egress request invalid"),
        };
        let code = if status == 403 { Code::EgressDenied } else { Code::HttpFailed };
        let body =
            json!({ "title": title, "status": status, "code": code.as_str(), "detail": detail }).to_string();
        format!(
            "HTTP/1.1 {status} {title}: {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            visible(&detail),
            body.len(),
        )
    }
}

/// `text` as it may stand in a line of a head.
fn visible(text: &str) -> String {
    let visible = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    text.chars().take(REASON).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_one_head_whatever_the_reason() {
        let answer = Refusal::Invalid("a\r\nX: 1\r\n\r\nä".into()).answer();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Egress request invalid: a??X: 1?????\r\n"), "{head}");
        assert_eq!(head.lines().count(), 4);
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["status"], 400);
        let long = Refusal::Invalid("x".repeat(10_000)).answer();
        assert!(long.lines().next().unwrap().len() < 500);
    }
}
