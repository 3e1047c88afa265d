//! Roles that are taken on at STS, with keys or with a token.

use std::time::Duration;

use host::aws::AwsSettings;
use host::config::{AssumeRole, Credentials, Sts as Where};
use host::source::classify::{Fault, SourceErrorKind};
use tests::sts::{Answer, Sts, session};
use tests::witness::Witness;

use super::{ROLE, access, assumed, basic, call, federated, refused, role, script, secret, settings};

const HOUR: Answer = Answer::Grant(Duration::from_secs(3600));

fn refusal(status: u16, code: &'static str, message: &str) -> Answer {
    Answer::Refuse(status, code, message.to_owned())
}

#[tokio::test]
async fn a_role_is_asked_for_with_all_that_the_manifest_says_and_its_session_signs() {
    let (sts, witness) = (Sts::granting().await, Witness::start().await);
    let told = AssumeRole {
        session_name: Some("audit@42".to_owned()),
        external_id: Some("customer:42/orders".to_owned()),
        duration: Duration::from_secs(900),
        policy: Some("{\"Version\": \"2012-10-17\"}".to_owned()),
        sts: Where { endpoint: Some(sts.endpoint.clone()), region: Some("eu-central-1".to_owned()) },
        ..role(&sts, basic())
    };
    call(&access(&witness, Credentials::AssumeRole(Box::new(told))).await).await.expect("answered");
    let [asked] = &sts.calls()[..] else { panic!("one call") };
    assert_eq!(asked.action, "AssumeRole");
    for (name, value) in [
        ("RoleArn", ROLE),
        ("RoleSessionName", "audit@42"),
        ("ExternalId", "customer:42/orders"),
        ("DurationSeconds", "900"),
        ("Policy", "{\"Version\": \"2012-10-17\"}"),
    ] {
        assert_eq!(asked.parameter(name), value, "{name}");
    }
    assert_eq!((asked.access_key.as_deref(), asked.region.as_deref()), (Some("AKIABASIC"), Some("eu-central-1")));
    let [id, _, token] = session(1);
    assert_eq!(witness.last(), (id, Some(token)));
    assert_eq!(witness.seen()[0].region, "eu-west-1");
}

#[tokio::test]
async fn what_the_manifest_leaves_out_is_not_sent() {
    let (sts, witness) = (Sts::granting().await, Witness::start().await);
    call(&access(&witness, assumed(&sts, basic())).await).await.expect("answered");
    let [asked] = &sts.calls()[..] else { panic!("one call") };
    let names: Vec<&str> = asked.parameters.keys().map(String::as_str).collect();
    assert_eq!(names, ["DurationSeconds", "RoleArn", "RoleSessionName", "Version"]);
}

#[tokio::test]
async fn any_kind_may_be_the_source_of_a_role() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a writable folder");
        path
    };
    let profile = write("credentials", "[p]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n");
    let printed = "{\"Version\": 1, \"AccessKeyId\": \"AKIAPROCESS\", \"SecretAccessKey\": \"s\", \"SessionToken\": \"process-token\"}";
    let sources = [
        (basic(), "AKIABASIC", None),
        (Credentials::Profile { name: "p".to_owned(), file: Some(profile) }, "AKIAPROFILE", None),
        (Credentials::Process(script("printf %s \"$1\"", &[printed])), "AKIAPROCESS", Some("process-token")),
    ];
    for (source, key, token) in sources {
        let (sts, witness) = (Sts::granting().await, Witness::start().await);
        call(&access(&witness, assumed(&sts, source)).await).await.expect("answered");
        let [asked] = &sts.calls()[..] else { panic!("one call") };
        assert_eq!((asked.access_key.as_deref(), asked.session_token.as_deref()), (Some(key), token));
        assert_eq!(witness.last().0, session(1)[0]);
    }
}

#[tokio::test]
async fn a_role_may_be_asked_for_with_the_session_of_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "jwt").expect("a writable folder");
    let (sts, witness) = (Sts::granting().await, Witness::start().await);
    call(&access(&witness, assumed(&sts, federated(&sts, &file))).await).await.expect("answered");
    let calls = sts.calls();
    let actions: Vec<&str> = calls.iter().map(|call| call.action.as_str()).collect();
    assert_eq!(actions, ["AssumeRoleWithWebIdentity", "AssumeRole"]);
    assert_eq!(calls[1].session_token.as_deref(), Some("issued-token-1"));
    assert_eq!(witness.last().0, session(2)[0]);
}

#[tokio::test]
async fn a_session_that_ends_soon_is_renewed_before_the_next_call() {
    let sts = Sts::start(&[Answer::Grant(Duration::from_secs(3)), HOUR]).await;
    let witness = Witness::start().await;
    let access = access(&witness, assumed(&sts, basic())).await;
    for _ in 0..4 {
        call(&access).await.expect("answered");
    }
    let keys: Vec<String> = witness.seen().into_iter().map(|seen| seen.access_key).collect();
    let ([first, ..], [second, ..]) = (session(1), session(2));
    assert_eq!(keys, [first, second.clone(), second.clone(), second]);
    assert_eq!(sts.calls().len(), 2);
}

#[tokio::test]
async fn a_role_that_may_not_be_taken_on_is_told_with_its_arn_the_code_and_what_to_do() {
    let sts = Sts::start(&[Answer::denied()]).await;
    let error = refused(&Witness::start().await, assumed(&sts, basic())).await;
    assert_eq!((error.kind, error.fault), (SourceErrorKind::Denied, Fault::Settings));
    let told = error.to_string();
    for part in [
        ROLE,
        "AccessDenied",
        "is not authorized to perform: sts:AssumeRole",
        "trust policy",
        "external_id",
        "\"basic\"",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("basic-secret"), "{told}");
}

#[tokio::test]
async fn each_refusal_of_sts_says_whose_turn_it_is() {
    for (answer, part) in [
        (refusal(403, "InvalidClientTokenId", "hush"), "check the keys"),
        (refusal(403, "SignatureDoesNotMatch", "hush"), "this machine's clock"),
        (refusal(403, "ExpiredToken", "hush"), "renew it"),
        (refusal(403, "RegionDisabledException", "STS is not activated"), "`region`"),
        (refusal(400, "MalformedPolicyDocument", "Syntax errors in policy."), "`policy`"),
        (refusal(400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration"), "`duration`"),
    ] {
        let sts = Sts::start(std::slice::from_ref(&answer)).await;
        let error = refused(&Witness::start().await, assumed(&sts, basic())).await;
        assert_eq!((error.kind, error.fault), (SourceErrorKind::Denied, Fault::Settings), "{error}");
        assert!(error.advice().contains(part), "{answer:?}: {error}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn an_sts_that_is_throttled_or_down_may_recover_and_the_next_call_asks_again() {
    let sts =
        Sts::start(&[refusal(400, "Throttling", "Rate exceeded"), refusal(500, "InternalFailure", ""), HOUR]).await;
    let witness = Witness::start().await;
    let access = access(&witness, assumed(&sts, basic())).await;
    for _ in 0..2 {
        let error = call(&access).await.expect_err("no session yet");
        assert_eq!(error.kind, SourceErrorKind::Transient, "{error}");
        assert!(error.kind.may_pass() && error.to_string().contains(ROLE), "{error}");
    }
    call(&access).await.expect("a session at last");
    assert_eq!(sts.calls().len(), 3, "one call each: the SDK does not retry by itself");
}

#[tokio::test]
async fn an_sts_that_is_not_there_is_told_as_that() {
    let sts = Sts::granting().await;
    let gone = assumed(&sts, basic());
    drop(sts);
    let error = refused(&Witness::start().await, gone).await;
    assert_eq!(error.kind, SourceErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("STS could not be asked") && error.advice().contains("sts_endpoint"), "{error}");
}

#[tokio::test]
async fn a_silent_sts_ends_with_the_call_that_waits_for_it() {
    let (sts, witness) = (Sts::start(&[Answer::Silence]).await, Witness::start().await);
    let settings =
        AwsSettings { call_timeout: Duration::from_millis(100), ..settings(&witness, assumed(&sts, basic())) };
    let error = call(&settings.access().await).await.expect_err("nobody answers");
    assert_eq!((error.kind, witness.seen().len()), (SourceErrorKind::Transient, 0), "{error}");
}

#[tokio::test]
async fn a_token_is_proof_enough_and_is_read_anew_for_each_session() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "first.jwt\n").expect("a writable folder");
    let sts = Sts::start(&[Answer::Grant(Duration::from_secs(1)), HOUR]).await;
    let witness = Witness::start().await;
    let access = access(&witness, federated(&sts, &file)).await;
    call(&access).await.expect("answered");
    std::fs::write(&file, "second.jwt").expect("a writable folder");
    call(&access).await.expect("answered");
    let calls = sts.calls();
    let tokens: Vec<&str> = calls.iter().map(|call| call.parameter("WebIdentityToken")).collect();
    assert_eq!(tokens, ["first.jwt", "second.jwt"]);
    assert!(calls.iter().all(|call| call.access_key.is_none() && call.parameter("RoleArn") == ROLE), "{calls:?}");
    let [id, _, token] = session(2);
    assert_eq!(witness.last(), (id, Some(token)));
}

#[tokio::test]
async fn a_token_file_that_is_missing_or_empty_is_told_with_its_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    for (text, part) in [(None, "cannot be read"), (Some("\n"), "is empty")] {
        if let Some(text) = text {
            std::fs::write(&file, text).expect("a writable folder");
        }
        let sts = Sts::granting().await;
        let error = refused(&Witness::start().await, federated(&sts, &file)).await;
        assert_eq!(error.kind, SourceErrorKind::Denied, "{error}");
        assert!(error.to_string().contains(part) && error.to_string().contains(&file.display().to_string()), "{error}");
        assert_eq!(sts.calls().len(), 0);
    }
}

#[tokio::test]
async fn a_refused_token_is_not_repeated_even_if_sts_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, token) = (folder.path().join("token"), "hush".repeat(200));
    std::fs::write(&file, &token).expect("a writable folder");
    let quoted = format!("Incorrect token audience in {token}");
    let sts = Sts::start(&[Answer::Refuse(400, "InvalidIdentityToken", quoted)]).await;
    let error = refused(&Witness::start().await, federated(&sts, &file)).await;
    assert_eq!((error.kind, error.fault), (SourceErrorKind::Denied, Fault::Settings));
    assert!(error.to_string().contains("Incorrect token audience in ***"), "{error}");
    assert!(error.to_string().contains("InvalidIdentityToken") && !error.to_string().contains("hush"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_a_source_is_told_of_the_source() {
    let sts = Sts::granting().await;
    let process = script("echo no; exit 7", &[]);
    let error = refused(&Witness::start().await, assumed(&sts, Credentials::Process(process))).await;
    assert!(error.to_string().contains("the process \"sh\" failed (exit status: 7)"), "{error}");
    assert_eq!((error.kind, sts.calls().len()), (SourceErrorKind::Denied, 0), "{error}");
    let expired = Credentials::Basic {
        access_key_id: "ASIATEMPORARY".to_owned(),
        secret_access_key: secret("s"),
        session_token: Some(secret("old")),
    };
    let sts = Sts::start(&[refusal(403, "ExpiredToken", "The security token old is expired")]).await;
    let error = refused(&Witness::start().await, assumed(&sts, expired)).await;
    assert!(error.advice().contains("`source` has expired"), "{error}");
}
