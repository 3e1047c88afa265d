//! Secure connections, under a certificate of the tests' own: a front before a service that has none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/tls").join(name)
}

/// The authority that a client must trust, as `AWS_CA_BUNDLE` wants it.
///
/// # Panics
/// This folder has a name that is no text.
#[must_use]
pub fn authority() -> String {
    pem("ca.pem").to_str().expect("a plain path").to_owned()
}

/// Takes secure connections for `localhost`, and offers these protocols to them, the best one first (ALPN).
///
/// # Panics
/// The certificate is not there.
#[must_use]
pub fn acceptor(protocols: &[&str]) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(pem("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(pem("server.key")).expect("its key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Carries what comes over secure connections to a service that takes none. When it is dropped, nothing listens any more.
#[derive(Debug)]
pub struct Front {
    /// Such as `https://localhost:40123`.
    pub endpoint: String,
    server: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Front {
    /// Starts on a free port, before the service at `endpoint` (`http://HOST:PORT`), which must speak HTTP/2 with prior
    /// knowledge: that is the first protocol on offer, as with AWS.
    ///
    /// # Panics
    /// Loopback has no free port, or the endpoint is another one.
    pub async fn start(endpoint: &str) -> Self {
        let target = endpoint.strip_prefix("http://").expect("a plain endpoint").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
        let acceptor = acceptor(&["h2", "http/1.1"]);
        let server = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(carry(acceptor.clone(), socket, target.clone()));
            }
        });
        Self { endpoint, server }
    }
}

async fn carry(acceptor: TlsAcceptor, socket: TcpStream, target: String) {
    // Whoever goes away on either side ends it.
    let Ok(mut outer) = acceptor.accept(socket).await else { return };
    let Ok(mut inner) = TcpStream::connect(target).await else { return };
    drop(tokio::io::copy_bidirectional(&mut outer, &mut inner).await);
}
