//! A server that answers with canned text, for tests of what the SDK makes of answers no backend gives on demand.

use std::sync::{Arc, Mutex};

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::aws::AwsSettings;
use crate::config::StreamArn;
use crate::source::kinesis::KinesisStream;

/// One answer, or none.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Status and JSON body.
    Json(u16, String),
    /// Status 200, this `Date`, and a JSON body.
    Dated(&'static str, String),
    /// A body shorter than its announced length.
    Torn,
    /// Nothing until the client gives up.
    Silence,
    /// Status 200, and a body in the pieces that come through the channel; it ends in good order with an empty piece, and
    /// is cut off when the channel closes.
    Pieces(Arc<tokio::sync::Mutex<UnboundedReceiver<Vec<u8>>>>),
}

/// An answer in pieces, and the way to send them.
pub(crate) fn pieces() -> (UnboundedSender<Vec<u8>>, Answer) {
    let (sender, receiver) = unbounded_channel();
    (sender, Answer::Pieces(Arc::new(tokio::sync::Mutex::new(receiver))))
}

/// A frame of an event stream.
pub(crate) fn frame(headers: &[(&'static str, &'static str)], payload: &str) -> Vec<u8> {
    let message = headers.iter().fold(Message::new(payload.to_owned()), |message, (name, value)| {
        message.add_header(Header::new(*name, HeaderValue::String((*value).into())))
    });
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("short headers");
    bytes
}

/// What opens a subscription.
pub(crate) fn granted() -> Vec<u8> {
    frame(&[(":message-type", "event"), (":event-type", "initial-response")], "{}")
}

/// An event with records in it.
pub(crate) fn event(payload: &str) -> Vec<u8> {
    frame(&[(":message-type", "event"), (":event-type", "SubscribeToShardEvent")], payload)
}

pub(crate) struct Canned {
    pub(crate) endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    /// Gives the answers in turn, the last one for ever.
    pub(crate) async fn serve(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut held = Vec::new();
            let mut turn = 0;
            while let Ok((mut socket, _)) = listener.accept().await {
                let request = receive(&mut socket).await;
                seen.lock().expect("no test panics here").push(request);
                let answer = &answers[turn.min(answers.len() - 1)];
                turn += 1;
                let mut date = String::new();
                let (status, length, body) = match answer {
                    Answer::Json(status, body) => (*status, body.len(), body.as_str()),
                    Answer::Dated(at, body) => {
                        date = format!("date: {at}\r\n");
                        (200, body.len(), body.as_str())
                    }
                    Answer::Torn => (200, 1000, "{\"Records\":["),
                    Answer::Silence => {
                        held.push(socket);
                        continue;
                    }
                    Answer::Pieces(pieces) => {
                        tokio::spawn(send_pieces(socket, Arc::clone(pieces)));
                        continue;
                    }
                };
                let head = format!(
                    "HTTP/1.1 {status} Canned\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {length}\r\n{date}connection: close\r\n\r\n"
                );
                socket.write_all(format!("{head}{body}").as_bytes()).await.expect("the client listens");
            }
        });
        Self { endpoint, requests }
    }

    /// The stream behind this server.
    pub(crate) async fn stream(&self) -> KinesisStream {
        KinesisStream::connect(arn(), &AwsSettings::local("us-east-1", &self.endpoint)).await
    }

    /// The bodies of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no test panics here").clone()
    }
}

/// The ARN that these tests use.
pub(crate) fn arn() -> StreamArn {
    StreamArn::parse("arn:aws:kinesis:us-east-1:000000000000:stream/earthquakes").expect("well formed")
}

/// An exception, the way the service words it.
pub(crate) fn exception(status: u16, code: &str, message: &str) -> Answer {
    Answer::Json(status, format!("{{\"__type\":\"{code}\",\"message\":\"{message}\"}}"))
}

async fn send_pieces(mut socket: TcpStream, pieces: Arc<tokio::sync::Mutex<UnboundedReceiver<Vec<u8>>>>) {
    let head =
        "HTTP/1.1 200 Canned\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut pieces = pieces.lock().await;
    let mut bytes = head.as_bytes().to_vec();
    // The client may go away at any time.
    while socket.write_all(&bytes).await.is_ok() {
        let Some(piece) = pieces.recv().await else { return };
        bytes = format!("{:x}\r\n", piece.len()).into_bytes();
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
}

async fn receive(socket: &mut TcpStream) -> String {
    const TLS_HANDSHAKE: u8 = 0x16;
    let mut bytes = Vec::new();
    loop {
        if bytes.first() == Some(&TLS_HANDSHAKE) {
            return String::new();
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return body.to_owned();
            }
        }
        if socket.read_buf(&mut bytes).await.expect("the client sends") == 0 {
            return text;
        }
    }
}
