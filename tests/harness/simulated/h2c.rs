//! The SDK over HTTP/2 without TLS, which its own client does not speak: every call of a client shares one connection, so
//! that streams can be counted, windows closed, and one cut felt by all.

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// The connection, opened when a call needs it and there is none that lives.
#[derive(Clone, Debug)]
pub(crate) struct H2c(Arc<Line>);

#[derive(Debug)]
struct Line {
    /// Such as `127.0.0.1:40123`.
    address: String,
    /// Bytes that the peer may send on one stream, and on all together, before any of them is read.
    window: Option<u32>,
    sender: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl H2c {
    pub(crate) fn new(address: &str, window: Option<u32>) -> Self {
        Self(Arc::new(Line { address: address.to_owned(), window, sender: Mutex::new(None) }))
    }

    async fn sender(&self) -> Result<SendRequest<Full<Bytes>>, ConnectorError> {
        let mut known = self.0.sender.lock().await;
        if let Some(sender) = known.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let socket = TcpStream::connect(&self.0.address).await.map_err(|error| ConnectorError::io(error.into()))?;
        drop(socket.set_nodelay(true));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(self.0.window).initial_connection_window_size(self.0.window);
        let (sender, connection) =
            builder.handshake(TokioIo::new(socket)).await.map_err(|error| ConnectorError::io(error.into()))?;
        tokio::spawn(connection);
        Ok(known.insert(sender).clone())
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let whole = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let request = whole.map(|body| Full::new(Bytes::copy_from_slice(body.bytes().unwrap_or_default())));
        let mut sender = self.sender().await?;
        let response = sender.send_request(request).await.map_err(|error| ConnectorError::io(error.into()))?;
        HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
            .map_err(|error| ConnectorError::other(error.into(), None))
    }
}

impl HttpConnector for H2c {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}

impl HttpClient for H2c {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
