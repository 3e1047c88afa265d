//! How requests leave this machine: one client for everything that is signed with the same credentials.
//!
//! Three ways, chosen by where a request goes. To this machine itself, and to the link-local addresses where EC2 and ECS
//! hand out credentials, it goes straight: no proxy could reach those, and a secret of theirs has no business with one.
//! Everything else goes through the proxy of the environment, if there is one (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`,
//! `NO_PROXY`). Certificates are checked against the bundle of `AWS_CA_BUNDLE`, else that of `SSL_CERT_FILE`, else the
//! machine's own; nothing is read before the first secure connection.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::failure::AccessFailure;

/// The variables that name a bundle of certificates, the first one found winning.
const BUNDLES: [&str; 2] = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"];

/// The ways; connections are kept by each.
#[derive(Clone, Debug)]
struct Ways {
    /// Plain HTTP, straight.
    near: SharedHttpClient,
    /// TLS, straight; or why there is none.
    near_secure: Result<SharedHttpClient, AccessFailure>,
    /// Through the proxy of the environment, if there is one.
    far: Result<SharedHttpClient, AccessFailure>,
}

/// A client. Reads the environment, and the bundle that it names.
pub(super) fn client() -> SharedHttpClient {
    Connections::of_environment().client()
}

/// What clients of separate connections have in common: the environment and the bundle that it names are read once.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    trust: Result<TrustStore, AccessFailure>,
}

impl Connections {
    /// Reads the environment, and the bundle that it names.
    pub(crate) fn of_environment() -> Self {
        Self { trust: trust(|name| std::env::var_os(name)) }
    }

    /// A client that shares connections with no other.
    pub(crate) fn client(&self) -> SharedHttpClient {
        let secure = |proxy: fn() -> ProxyConfig| {
            let context = TlsContext::builder().with_trust_store(self.trust.clone()?).build();
            let context = context.expect("a trust store is all that it needs");
            Ok(Builder::new().build_with_connector_fn(move |settings, components| {
                let mut connector = ConnectorBuilder::default().proxy_config(proxy());
                connector.set_connector_settings(settings.cloned());
                connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
                connector.tls_provider(Provider::rustls(CryptoMode::AwsLc)).tls_context(context.clone()).build()
            }))
        };
        let near = Builder::new().build_with_connector_fn(|settings, components| {
            let mut connector = ConnectorBuilder::default().proxy_config(ProxyConfig::disabled());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            connector.build_http()
        });
        SharedHttpClient::new(Ways {
            near,
            near_secure: secure(ProxyConfig::disabled),
            far: secure(ProxyConfig::from_env),
        })
    }
}

impl HttpClient for Ways {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let way = Way { ways: self.clone(), settings: settings.clone(), components: components.clone() };
        SharedHttpConnector::new(way)
    }
}

/// The ways, for one call.
struct Way {
    ways: Ways,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").finish_non_exhaustive()
    }
}

impl HttpConnector for Way {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = match Target::of(request.uri()) {
            Target::Near => Ok(&self.ways.near),
            Target::NearSecure => self.ways.near_secure.as_ref(),
            Target::Far => self.ways.far.as_ref(),
        };
        match client {
            // A client keeps its connector, so this makes none; connections are shared by all calls.
            Ok(client) => client.http_connector(&self.settings, &self.components).call(request),
            Err(failure) => HttpConnectorFuture::ready(Err(ConnectorError::user(Box::new(failure.clone())))),
        }
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Near,
    NearSecure,
    Far,
}

impl Target {
    fn of(uri: &str) -> Self {
        let (is_plain, rest) = match uri.split_once("://") {
            Some((scheme, rest)) => (scheme.eq_ignore_ascii_case("http"), rest),
            None => (false, uri),
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, behind)| behind);
        let host = match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        let is_near = host == "localhost" || host.parse().is_ok_and(is_near);
        match (is_near, is_plain) {
            (true, true) => Self::Near,
            (true, false) => Self::NearSecure,
            (false, _) => Self::Far,
        }
    }
}

/// Whether an address is this machine's own, or one of those where a cloud hands out credentials.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        // fd00:ec2::/32, where EC2 and EKS answer.
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.segments()[..2] == [0xfd00, 0xec2],
    }
}

/// Which certificates to trust, or why that cannot be told.
fn trust(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<TrustStore, AccessFailure> {
    let named = BUNDLES.iter().find_map(|name| {
        let path = variable(name).filter(|path| !path.is_empty())?;
        Some((*name, path))
    });
    match named {
        None => Ok(TrustStore::default()),
        Some((name, path)) => {
            let bundle = bundle(name, Path::new(&path))?;
            Ok(TrustStore::empty().with_pem_certificate(bundle.to_vec()))
        }
    }
}

/// Reads a bundle, and makes sure that the SDK, which panics over a broken one, will take it.
fn bundle(name: &str, path: &Path) -> Result<Arc<[u8]>, AccessFailure> {
    let shown = path.display();
    let failure = |what: String| {
        AccessFailure::unusable(
            what,
            format!("let {name} name a file of PEM certificates, or unset it to trust those of this machine"),
        )
    };
    let bytes = std::fs::read(path).map_err(|error| failure(format!("{name}={shown} cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for (index, certificate) in (1_usize..).zip(CertificateDer::pem_slice_iter(&bytes)) {
        let broken = |error: &dyn fmt::Display| {
            failure(format!("certificate {index} in {name}={shown} cannot be used: {error}"))
        };
        let certificate = certificate.map_err(|error| broken(&error))?;
        roots.add(certificate).map_err(|error| broken(&error))?;
    }
    if roots.is_empty() {
        return Err(failure(format!("{name}={shown} has no PEM certificate in it")));
    }
    Ok(Arc::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_goes_without_a_proxy_and_what_only_looks_near_does_not() {
        for near in [
            "http://127.0.0.1:4567",
            "http://localhost",
            "http://[::1]:80/",
            "http://127.9.9.9/x?y",
            "http://169.254.169.254/latest/meta-data",
            "http://169.254.170.2/v2/credentials",
            "http://[fd00:ec2::254]/latest",
            "HTTP://127.0.0.1",
        ] {
            assert_eq!(Target::of(near), Target::Near, "{near}");
        }
        assert_eq!(Target::of("https://127.0.0.1:4567"), Target::NearSecure);
        for far in [
            "https://kinesis.us-east-1.amazonaws.com/",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1:80",
            "kinesis",
            "http://localhost.example",
            "http://127.0.0.1@example.com/",
            "http://example.com/@127.0.0.1",
        ] {
            assert_eq!(Target::of(far), Target::Far, "{far}");
        }
    }

    #[test]
    fn a_bundle_that_cannot_be_used_is_told_with_its_variable_and_its_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a writable folder");
            path
        };
        let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        for (path, told) in [
            (folder.path().join("missing.pem"), "cannot be read"),
            (folder.path().to_owned(), "cannot be read"),
            (file("empty.pem", ""), "has no PEM certificate"),
            (file("text.pem", "no certificate\n"), "has no PEM certificate"),
            (
                file("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
                "has no PEM certificate",
            ),
            (file("broken.pem", &pem("AAAA")), "certificate 1 in"),
            (file("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"), "certificate 1 in"),
        ] {
            for variable in BUNDLES {
                let set = |name: &str| (name == variable).then(|| path.clone().into_os_string());
                let failure = trust(set).expect_err(told);
                assert!(failure.what.contains(told) && failure.what.contains(variable), "{failure:?}");
                assert!(failure.what.contains(&path.display().to_string()), "{failure:?}");
            }
        }
    }

    #[test]
    fn without_a_bundle_the_machine_is_trusted_and_an_empty_variable_names_none() {
        assert!(trust(|_| None).is_ok());
        assert!(trust(|_| Some(std::ffi::OsString::new())).is_ok());
    }
}
