//! Heads of HTTP/1 messages: what a request asks the gate for, and what is passed on in its place.
//!
//! What is connected to is what was parsed: the head that goes on is written anew from it. What comes behind the head
//! can reach nothing else, because a connection keeps its one target.

use httparse::{EMPTY_HEADER, Header, Status};
use protocol::egress::Target;
use protocol::limits;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Headers of a message. More make no sense.
const HEADERS: usize = 128;
/// Headers about one connection, which are not passed on. `Transfer-Encoding` is, since bodies go on as they are.
const HOP_BY_HOP: [&str; 4] = ["connection", "keep-alive", "te", "upgrade"];

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Bytes in both directions.
    Tunnel(Target),
    /// One request: the head to send, and how many bytes of body follow it.
    Forward { target: Target, head: Vec<u8>, body: u64 },
}

impl Ask {
    pub(super) fn target(&self) -> &Target {
        match self {
            Self::Tunnel(target) | Self::Forward { target, .. } => target,
        }
    }
}

/// What is passed on of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The head to send in place of its own.
    pub(super) head: Vec<u8>,
    /// False if another answer follows: this one only says "go on".
    pub(super) last: bool,
}

/// Reads a whole head into `buffer` and gives back what `parse` makes of it and how long it is; what follows it stays
/// in the buffer. The error says what is wrong.
pub(super) async fn read<T>(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, String>,
) -> Result<(T, usize), String> {
    loop {
        if let Some(parsed) = parse(buffer)? {
            return Ok(parsed);
        }
        if buffer.len() >= limits::EGRESS_HEAD_BYTES {
            return Err(format!("the head has more than {} bytes", limits::EGRESS_HEAD_BYTES));
        }
        match from.read_buf(buffer).await {
            Ok(0) => return Err("the connection ended within the head".into()),
            Ok(_) => {}
            Err(error) => return Err(format!("the connection broke within the head: {error}")),
        }
    }
}

/// What a request asks for, and the length of its head; `None` if it isn't complete.
pub(super) fn request(bytes: &[u8]) -> Result<Option<(Ask, usize)>, String> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes).map_err(|error| format!("this is no HTTP/1 request: {error}"))?;
    let Status::Complete(length) = parsed else { return Ok(None) };
    let (method, uri) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    if method == "CONNECT" {
        let target = Target::parse(uri, None).map_err(|error| error.to_string())?;
        return Ok(Some((Ask::Tunnel(target), length)));
    }
    let (target, path) = absolute(uri)?;
    let body = body_length(request.headers)?;
    let mut head = format!("{method} {path} HTTP/1.{}\r\nHost: ", request.version.unwrap_or(1)).into_bytes();
    let host = target.to_string();
    head.extend_from_slice(host.strip_suffix(":80").unwrap_or(&host).as_bytes());
    head.extend_from_slice(b"\r\n");
    passed_on(request.headers, &["host"], &mut head)?;
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    Ok(Some((Ask::Forward { target, head, body }, length)))
}

/// What is passed on of an answer, and the length of its head; `None` if it isn't complete.
pub(super) fn answer(bytes: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(bytes).map_err(|error| format!("the target's answer is no HTTP/1: {error}"))?;
    let Status::Complete(length) = parsed else { return Ok(None) };
    let status = answer.code.unwrap_or(502);
    let (version, reason) = (answer.version.unwrap_or(1), answer.reason.unwrap_or_default());
    let mut head = format!("HTTP/1.{version} {status} {reason}\r\n").into_bytes();
    passed_on(answer.headers, &[], &mut head)?;
    let last = !(100..200).contains(&status);
    // The client must not use this connection for another host.
    head.extend_from_slice(if last { b"Connection: close\r\n\r\n" } else { b"\r\n" });
    Ok(Some((Answer { head, last }, length)))
}

/// Where an absolute URI leads, and the rest of it as it stands.
fn absolute(uri: &str) -> Result<(Target, String), String> {
    let scheme = uri.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    if scheme.is_none() {
        return Err("this is a proxy: ask for http://HOST/PATH, or use CONNECT".into());
    }
    let rest = &uri[7..];
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if path.contains('#') {
        return Err("a request has no fragment ('#...')".into());
    }
    let target = Target::parse(authority, Some(80)).map_err(|error| error.to_string())?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok((target, format!("{slash}{path}")))
}

/// How many bytes follow the head. Whoever could be understood in two ways is refused.
fn body_length(headers: &[Header<'_>]) -> Result<u64, String> {
    let all = |name: &str| -> Vec<&[u8]> {
        headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
            .collect()
    };
    match (all("transfer-encoding").as_slice(), all("content-length").as_slice()) {
        ([], []) => Ok(0),
        // The target finds the end.
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(u64::MAX),
        ([], [length]) => {
            let digits =
                std::str::from_utf8(length).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|text| text.parse().ok()).ok_or_else(|| "Content-Length is no number".to_owned())
        }
        _ => Err("the length of the body is not clear: send one Content-Length, or chunked alone".into()),
    }
}

/// Writes the headers that are not about this connection, and not `dropped`.
fn passed_on(headers: &[Header<'_>], dropped: &[&str], head: &mut Vec<u8>) -> Result<(), String> {
    let mut named = Vec::new();
    for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection")) {
        let text = String::from_utf8_lossy(header.value).to_ascii_lowercase();
        named.extend(text.split(',').map(|name| name.trim().to_owned()));
    }
    if named.iter().any(|name| matches!(name.as_str(), "content-length" | "transfer-encoding")) {
        return Err("Connection must not name what says where the body ends".into());
    }
    for header in headers {
        let name = header.name.to_ascii_lowercase();
        let own = HOP_BY_HOP.contains(&name.as_str()) || name.starts_with("proxy-") || named.contains(&name);
        if !own && !dropped.contains(&name.as_str()) {
            head.extend_from_slice(header.name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(header.value);
            head.extend_from_slice(b"\r\n");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<Ask, String> {
        request(text.as_bytes()).map(|parsed| parsed.expect("a whole head").0)
    }

    #[test]
    fn a_request_goes_on_in_origin_form_without_what_is_ours() {
        let text = "POST http://API.example.:8080/a?b=%2f&c HTTP/1.1\r\nHost: other.example\r\nX-A: 1\r\n\
                    Connection: x-gone, keep-alive\r\nX-Gone: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: s\r\n\
                    Proxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc";
        let Ask::Forward { target, head, body } = ask(text).unwrap() else { panic!("no request") };
        assert_eq!((target.to_string().as_str(), body), ("api.example:8080", 3));
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "POST /a?b=%2f&c HTTP/1.1\r\nHost: api.example:8080\r\nX-A: 1\r\nContent-Length: 3\r\n\
             Connection: close\r\n\r\n"
        );
        let Ask::Forward { head, .. } = ask("GET http://a.example?x HTTP/1.0\r\n\r\n").unwrap() else {
            panic!()
        };
        assert!(head.starts_with(b"GET /?x HTTP/1.0\r\nHost: a.example\r\n"));
        assert_eq!(request(b"GET http://a.example/ HTTP/1.1\r\nA: b").unwrap(), None);
    }

    #[test]
    fn a_tunnel_needs_a_host_and_a_port() {
        let target = Target::parse("[::1]:443", None).unwrap();
        assert_eq!(ask("CONNECT [::1]:443 HTTP/1.1\r\n\r\n"), Ok(Ask::Tunnel(target)));
        for bad in ["a.example", "a.example:0", "http://a.example/", "/", "a.example:80:80", "fe80::1%1:80"] {
            assert!(ask(&format!("CONNECT {bad} HTTP/1.1\r\n\r\n")).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for bad in [
            "GET / HTTP/1.1\r\nHost: a.example",
            "GET https://a.example/ HTTP/1.1",
            "GET http://u@a.example/ HTTP/1.1",
            "GET http://a.example/#x HTTP/1.1",
            "GET http:///x HTTP/1.1",
            "GET http://a.example\\@b.example/ HTTP/1.1",
            "GET http://a%2eexample/ HTTP/1.1",
            "POST http://a.example/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            "POST http://a.example/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
            "POST http://a.example/ HTTP/1.1\r\nContent-Length: +1",
            "POST http://a.example/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked",
            "POST http://a.example/ HTTP/1.1\r\nContent-Length: 1\r\nConnection: content-length",
            "POST http://a.example/ HTTP/1.1\r\nContent-Length : 1",
            "GET http://a.example/ HTTP/1.1\r\nA: b\r\n c",
            "GET http://a.example/ HTTP/2.0",
            "\u{16}\u{3}\u{1}",
        ] {
            assert!(request(format!("{bad}\r\n\r\n").as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_says_that_the_connection_ends() {
        let text =
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nab";
        let (Answer { head, last }, length) = answer(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n");
        assert!(last && text[length..] == *"ab");
        let (Answer { head, last }, _) = answer(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap().unwrap();
        assert!(!last && head == b"HTTP/1.1 100 Continue\r\n\r\n");
        assert!(answer(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\n").unwrap(), None);
    }
}
