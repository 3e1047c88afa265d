//! The way out of this machine: proxies, certificates, endpoints of the environment.

use std::path::Path;

use tests::tls::{acceptor, authority};
use tests::witness::Witness;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::environment::{inner, outer};

/// A host that no network has.
const FAR: &str = "http://kinesis.eu-west-1.invalid";

#[tokio::test]
async fn a_proxy_of_the_environment_is_asked_for_what_is_far_and_not_for_what_it_excludes() {
    if inner().await.is_some() {
        return;
    }
    let proxy = Witness::start().await;
    let test = "access::outward::a_proxy_of_the_environment_is_asked_for_what_is_far_and_not_for_what_it_excludes";
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        assert_eq!(outer(test, "basic", FAR, &[(name, &proxy.endpoint)]).await, "answered", "{name}");
    }
    let seen = proxy.seen();
    assert!(seen.len() == 3 && seen.iter().all(|seen| seen.uri == format!("{FAR}/")), "{seen:?}");
    let excluded = [("HTTP_PROXY", proxy.endpoint.as_str()), ("NO_PROXY", ".invalid")];
    let told = outer(test, "basic", FAR, &excluded).await;
    assert!(told.starts_with("Unreachable") && told.contains("name is unknown"), "{told}");
    let near = Witness::start().await;
    assert_eq!(outer(test, "basic", &near.endpoint, &[("HTTP_PROXY", &proxy.endpoint)]).await, "answered");
    assert_eq!((proxy.seen().len(), near.seen().len()), (3, 1));
}

/// Secure connections are tunnels: the proxy learns where they go, and nothing else.
#[tokio::test]
async fn a_secure_connection_goes_through_the_proxy_as_a_tunnel() {
    if inner().await.is_some() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let proxy = format!("http://user:pass@{}", listener.local_addr().expect("bound"));
    let asked = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("the client comes");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(socket.read_buf(&mut head).await.expect("the client speaks") > 0, "the client went away");
        }
        socket.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.expect("the client listens");
        String::from_utf8_lossy(&head).into_owned()
    });
    let test = "access::outward::a_secure_connection_goes_through_the_proxy_as_a_tunnel";
    let told = outer(test, "basic", "https://kinesis.eu-west-1.invalid", &[("HTTPS_PROXY", &proxy)]).await;
    let asked = asked.await.expect("no panic");
    assert!(asked.starts_with("CONNECT kinesis.eu-west-1.invalid:443 "), "{asked}");
    assert!(asked.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz"), "{asked}");
    assert!(!asked.contains("AKIABASIC") && !told.contains("pass"), "{asked}\n{told}");
}

/// A pipeline reads where its manifest says, whatever else of this machine uses an emulator.
#[tokio::test]
async fn an_endpoint_of_the_environment_is_not_where_streams_are_read() {
    if inner().await.is_some() {
        return;
    }
    let (emulator, proxy) = (Witness::start().await, Witness::answering(403, "").await);
    let test = "access::outward::an_endpoint_of_the_environment_is_not_where_streams_are_read";
    let variables = [
        ("AWS_ENDPOINT_URL", emulator.endpoint.as_str()),
        ("AWS_ENDPOINT_URL_KINESIS", &emulator.endpoint),
        ("HTTPS_PROXY", &proxy.endpoint),
    ];
    outer(test, "basic", "", &variables).await;
    assert_eq!(emulator.seen(), []);
    let asked = &proxy.seen()[0].uri;
    assert!(asked.ends_with("kinesis.eu-west-1.amazonaws.com:443"), "{asked}");
}

/// Answers any number of secure connections with a listing, under a certificate of the tests' own.
async fn secure() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let endpoint = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
    let acceptor = acceptor(&[]);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // Who does not trust the certificate goes away.
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                if socket.read_buf(&mut head).await.unwrap_or_default() == 0 {
                    break;
                }
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: 13\r\nconnection: close\r\n\r\n{\"Shards\":[]}";
            socket.write_all(answer.as_bytes()).await.expect("the client listens");
            // A client that has its answer need not wait for the end of the connection.
            drop(socket.shutdown().await);
        }
    });
    endpoint
}

#[tokio::test]
async fn certificates_are_checked_against_the_bundle_of_the_environment() {
    if inner().await.is_some() {
        return;
    }
    let endpoint = secure().await;
    let test = "access::outward::certificates_are_checked_against_the_bundle_of_the_environment";
    let ours = authority();
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        assert_eq!(outer(test, "basic", &endpoint, &[(variable, &ours)]).await, "answered", "{variable}");
    }
    // The machine's own certificates do not know the tests' authority.
    let told = outer(test, "basic", &endpoint, &[]).await;
    assert!(told.starts_with("Unreachable") && told.contains("root certificates"), "{told}");
    // The SDK's own variable wins.
    let both = [("SSL_CERT_FILE", "/nonexistent/bundle.pem"), ("AWS_CA_BUNDLE", ours.as_str())];
    assert_eq!(outer(test, "basic", &endpoint, &both).await, "answered");
}

#[tokio::test]
async fn a_bundle_that_cannot_be_used_is_told_at_the_first_secure_call_and_matters_to_no_other() {
    if inner().await.is_some() {
        return;
    }
    let test = "access::outward::a_bundle_that_cannot_be_used_is_told_at_the_first_secure_call_and_matters_to_no_other";
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").expect("a writable folder");
    let near = Witness::start().await;
    for (bundle, part) in
        [(empty.as_path(), "has no PEM certificate"), (Path::new("/nonexistent/ca.pem"), "cannot be read")]
    {
        let bundle = bundle.to_str().expect("a plain path");
        let told = outer(test, "basic", &secure().await, &[("AWS_CA_BUNDLE", bundle)]).await;
        assert!(told.starts_with("Invalid") && told.contains(part), "{told}");
        assert!(told.contains(&format!("AWS_CA_BUNDLE={bundle}")) && told.contains("unset it"), "{told}");
        assert_eq!(outer(test, "basic", &near.endpoint, &[("AWS_CA_BUNDLE", bundle)]).await, "answered");
    }
}
