//! A client that can also misbehave: HTTP/1.0 over a plain socket, where the body of an answer is
//! everything up to the end of the connection.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A request.
#[derive(Debug)]
pub(crate) struct Call {
    address: SocketAddr,
    head: String,
    body: Vec<u8>,
    announced: Option<usize>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// An answer whose body still comes.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
}

impl Call {
    pub(crate) fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        Self { address, head: format!("{method} {path} HTTP/1.0\r\n"), body: Vec::new(), announced: None }
    }

    /// A head and a body as they are, in whatever form.
    pub(crate) fn raw(address: SocketAddr, head: &str, body: Vec<u8>) -> Self {
        Self { address, head: head.to_owned(), body, announced: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Says that the body has this length, whatever it has.
    pub(crate) fn announce(mut self, length: usize) -> Self {
        self.announced = Some(length);
        self
    }

    pub(crate) async fn open(self) -> Stream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let length = self.announced.unwrap_or(self.body.len());
        let head = if self.head.ends_with("\r\n\r\n") {
            self.head
        } else {
            format!("{}content-length: {length}\r\n\r\n", self.head)
        };
        socket.write_all(head.as_bytes()).await.unwrap();
        // The server may refuse and close before it has read everything.
        drop(socket.write_all(&self.body).await);
        let mut reader = BufReader::new(socket);
        let status = line(&mut reader).await.unwrap();
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        while let Some(line) = line(&mut reader).await.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Stream { status, headers, reader }
    }

    pub(crate) async fn send(self) -> Answer {
        let mut stream = self.open().await;
        let mut body = Vec::new();
        stream.reader.read_to_end(&mut body).await.unwrap();
        Answer { status: stream.status, headers: stream.headers, body: String::from_utf8(body).unwrap() }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// The status and code of a problem, and the pointers of its faults.
    pub(crate) fn problem(&self) -> (u16, String, Vec<String>) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        let pointers = problem["errors"].as_array().into_iter().flatten();
        let pointers = pointers.map(|fault| fault["pointer"].as_str().unwrap().to_owned()).collect();
        (self.status, problem["code"].as_str().unwrap().to_owned(), pointers)
    }

    /// Checks that this is a problem with this status, code and first pointer ("-" for none).
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str, pointer: &str) {
        let (found_status, found_code, pointers) = self.problem();
        let found = pointers.first().map_or("-", String::as_str);
        assert_eq!((found_status, found_code.as_str(), found), (status, code, pointer), "{}", self.body);
    }
}

impl Stream {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The next line of the body, or `None` at its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        line(&mut self.reader).await
    }

    /// The next event of an SSE stream (its id and its JSON), or `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<(u64, Value)> {
        let mut id = None;
        loop {
            let line = self.line().await?;
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.parse().unwrap());
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((id.expect("the id comes first"), serde_json::from_str(text).unwrap()));
            }
        }
    }
}

async fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).await.unwrap();
    (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}
