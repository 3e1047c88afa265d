//! Credentials that are there: in the manifest, in a profile's file; and what all kinds have in common.

use host::config::Credentials;
use host::source::classify::{Fault, SourceErrorKind};
use tests::sts::{Sts, session};
use tests::witness::Witness;

use super::{access, assumed, basic, call, refused, secret};

#[tokio::test]
async fn basic_signs_with_its_keys_and_sends_its_session_token() {
    let witness = Witness::start().await;
    call(&access(&witness, basic()).await).await.expect("answered");
    assert_eq!(witness.last(), ("AKIABASIC".to_owned(), None));
    let temporary = Credentials::Basic {
        access_key_id: "ASIATEMPORARY".to_owned(),
        secret_access_key: secret("s"),
        session_token: Some(secret("basic-token")),
    };
    call(&access(&witness, temporary).await).await.expect("answered");
    assert_eq!(witness.last(), ("ASIATEMPORARY".to_owned(), Some("basic-token".to_owned())));
}

#[tokio::test]
async fn an_expired_session_token_is_told_as_such_and_not_repeated() {
    let quoted = "{\"__type\":\"ExpiredTokenException\",\"message\":\"The security token basic-token is expired\"}";
    let witness = Witness::answering(400, quoted).await;
    let temporary = Credentials::Basic {
        access_key_id: "ASIATEMPORARY".to_owned(),
        secret_access_key: secret("s"),
        session_token: Some(secret("basic-token")),
    };
    let error = call(&access(&witness, temporary).await).await.expect_err("refused");
    assert_eq!((error.kind, error.fault), (SourceErrorKind::Denied, Fault::Settings));
    let told = error.to_string();
    assert!(told.contains("the session token has expired") && told.contains("credentials = \"basic\""), "{told}");
    assert!(!told.contains("basic-token"), "{told}");
}

#[tokio::test]
async fn a_profile_is_found_in_a_file_of_either_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let witness = Witness::start().await;
    let texts = [
        (
            "credentials",
            "[other]\naws_access_key_id=X\naws_secret_access_key=x\n[two]\naws_access_key_id = AKIATWO\naws_secret_access_key = s\naws_session_token = t\n",
        ),
        ("config", "[profile two]\naws_access_key_id = AKIATWO\naws_secret_access_key = s\naws_session_token = t\n"),
    ];
    for (name, text) in texts {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("a writable folder");
        let profile = Credentials::Profile { name: "two".to_owned(), file: Some(file) };
        call(&access(&witness, profile).await).await.expect("answered");
        assert_eq!(witness.last(), ("AKIATWO".to_owned(), Some("t".to_owned())), "{name}");
    }
}

#[tokio::test]
async fn a_profile_that_is_not_in_its_file_is_told_with_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("credentials");
    for text in [None, Some(""), Some("[one]\naws_access_key_id=A\naws_secret_access_key=hush\n"), Some("[two]\n")] {
        if let Some(text) = text {
            std::fs::write(&file, text).expect("a writable folder");
        }
        let witness = Witness::start().await;
        let profile = Credentials::Profile { name: "two".to_owned(), file: Some(file.clone()) };
        let error = refused(&witness, profile).await;
        assert_eq!((error.kind, error.fault), (SourceErrorKind::Denied, Fault::Settings), "{text:?}: {error}");
        let told = error.to_string();
        assert!(told.contains("\"two\"") && told.contains(&file.display().to_string()), "{text:?}: {told}");
        assert!(!told.contains("hush"), "{told}");
    }
}

/// A pipeline may read streams of several regions and accounts; the session is one.
#[tokio::test]
async fn clients_of_several_regions_share_one_session() {
    let (sts, witness) = (Sts::granting().await, Witness::start().await);
    let here = access(&witness, assumed(&sts, basic())).await;
    let there = here.in_region("us-east-2");
    for access in [&here, &there, &here, &there.in_region("ap-south-1")] {
        call(access).await.expect("answered");
    }
    let (calls, [id, _, token]) = (sts.calls(), session(1));
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(calls[0].region.as_deref(), Some("eu-west-1"), "STS is asked where the first stream is");
    let seen = witness.seen();
    let regions: Vec<&str> = seen.iter().map(|seen| seen.region.as_str()).collect();
    assert_eq!(regions, ["eu-west-1", "us-east-2", "eu-west-1", "ap-south-1"]);
    assert!(seen.iter().all(|seen| seen.access_key == id && seen.session_token.as_ref() == Some(&token)), "{seen:?}");
}

#[tokio::test]
async fn many_calls_at_once_take_on_a_role_once() {
    let (sts, witness) = (Sts::granting().await, Witness::start().await);
    let access = access(&witness, assumed(&sts, basic())).await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let access = access.clone();
            tokio::spawn(async move { call(&access).await })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect("answered");
    }
    assert_eq!((sts.calls().len(), witness.seen().len()), (1, 20));
}
