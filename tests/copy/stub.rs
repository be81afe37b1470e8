//! Services that say what they are told to: for answers that sound ones give once in a million.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_util::task::AbortOnDropHandle;

/// Requests that a test may leave unread.
const REQUESTS_MAX: usize = 256;

/// What the next request is answered with, whatever it asks.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// An object's head: its tag and its length.
    Head(&'static str, u64),
    /// A part of an object: its Content-Range and its bytes.
    Part(&'static str, &'static str),
    /// The same with so many bytes, of which the last ones come when it is told.
    Gated(&'static str, usize, Arc<Notify>),
    /// A status and a body.
    Text(u16, &'static str),
    /// The same, but it breaks off before its last byte.
    Cut(u16, &'static str),
    /// Nothing, ever.
    Never,
    /// Nothing: the connection is closed.
    Closed,
}

/// A request: method, target, what a copy is conditioned on, and all headers by their names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) if_match: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
}

impl Request {
    /// The operation, where a header names it: of a call to CloudWatch Logs.
    pub(super) fn operation(&self) -> Option<&str> {
        Some(self.headers.get("x-amz-target")?.split_once('.')?.1)
    }
}

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Stub {
    pub(super) endpoint: String,
    requests: mpsc::Receiver<Request>,
    _task: AbortOnDropHandle<()>,
}

type Answers = Box<dyn FnMut(&Request) -> Answer + Send>;

impl Stub {
    /// A store that gives these answers, one after the other, and then none.
    pub(super) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers: VecDeque<Answer> = answers.into_iter().collect();
        Self::answering(move |_| answers.pop_front().unwrap_or(Answer::Never)).await
    }

    /// A store that answers by what it is asked.
    pub(super) async fn answering(answers: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answers: Arc<Mutex<Answers>> = Arc::new(Mutex::new(Box::new(answers)));
        let (told, requests) = mpsc::channel(REQUESTS_MAX);
        let task = async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn(serve(connection, Arc::clone(&answers), told.clone()));
            }
        };
        let _task = AbortOnDropHandle::new(spawn(task));
        Self { endpoint, requests, _task }
    }

    /// The next request; waits for it.
    pub(super) async fn request(&mut self) -> Request {
        self.requests.recv().await.unwrap()
    }

    /// The requests that came and were not asked for yet.
    pub(super) fn requests(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "its handle ends it with the stub")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(task)
}

async fn serve(mut connection: TcpStream, answers: Arc<Mutex<Answers>>, told: mpsc::Sender<Request>) {
    let mut held = Vec::new();
    while let Some(request) = read(&mut connection, &mut held).await {
        let answer = answers.lock().unwrap()(&request);
        told.send(request).await.unwrap();
        let reply = match answer {
            Answer::Head(tag, bytes) => format!(
                "HTTP/1.1 200 OK\r\nETag: \"{tag}\"\r\nContent-Length: {bytes}\r\nContent-Encoding: gzip\r\n\r\n"
            ),
            Answer::Part(range, body) => format!(
                "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: {range}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
            Answer::Gated(range, bytes, gate) => {
                let head = format!(
                    "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: {range}\r\nContent-Length: {bytes}\r\n\r\n"
                );
                let body = "x".repeat(bytes);
                let (now, then) = body.split_at(bytes - bytes / 100);
                connection.write_all((head + now).as_bytes()).await.unwrap();
                gate.notified().await;
                then.to_owned()
            }
            Answer::Text(status, body) => {
                format!("HTTP/1.1 {status} Told\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
            Answer::Cut(status, body) => {
                let (cut, _) = body.split_at(body.len() - 1);
                let reply = format!("HTTP/1.1 {status} Told\r\nContent-Length: {}\r\n\r\n{cut}", body.len());
                connection.write_all(reply.as_bytes()).await.unwrap();
                return;
            }
            Answer::Never => std::future::pending().await,
            Answer::Closed => return,
        };
        connection.write_all(reply.as_bytes()).await.unwrap();
    }
}

/// The next request of a connection; `None` at its end.
async fn read(connection: &mut TcpStream, held: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = held.windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
        if connection.read_buf(held).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(held.drain(..end).collect()).unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let header = |wanted: &str| headers.get(wanted).cloned();
    let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
    while held.len() < length {
        connection.read_buf(held).await.ok()?;
    }
    held.drain(..length);
    let target = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // The SDK's own mark says nothing here.
    let query: Vec<&str> = query.split('&').filter(|it| !it.is_empty() && !it.starts_with("x-id=")).collect();
    let line = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
    let if_match = header("if-match").or_else(|| header("x-amz-copy-source-if-match"));
    Some(Request { line, if_match, headers })
}
