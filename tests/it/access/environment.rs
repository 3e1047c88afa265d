//! Credentials that the environment tells of. Each test starts itself again in a process whose environment is empty but
//! for what it says, and judges what the services saw of that process and what it printed.

use std::process::Stdio;
use std::time::Duration;

use host::aws::AwsSettings;
use host::config::Credentials;
use tempfile::TempDir;
use tests::sts::{Answer, Sts, session};
use tests::witness::Witness;

use super::{call, settings};

/// Set in the process of its own only: the kind of credentials, and where to call.
const KIND: &str = "SLUICEBOX_TEST_KIND";
const ENDPOINT: &str = "SLUICEBOX_TEST_ENDPOINT";
const PRINTED: &str = "called: ";

/// The call of the process of its own; `None` in the test itself.
pub(super) async fn inner() -> Option<()> {
    let kind = std::env::var(KIND).ok()?;
    let credentials = match kind.as_str() {
        "auto" => Credentials::Auto,
        "env" => Credentials::Env,
        "basic" => super::basic(),
        name => Credentials::Profile { name: name.to_owned(), file: None },
    };
    let endpoint = std::env::var(ENDPOINT).expect("set together");
    let call_timeout = Duration::from_secs(60);
    let settings = AwsSettings {
        endpoint: Some(endpoint).filter(|url| !url.is_empty()),
        credentials,
        call_timeout,
        ..AwsSettings::new("eu-west-1")
    };
    let outcome = match call(&settings.access().await).await {
        Ok(()) => "answered".to_owned(),
        Err(error) => format!("{:?} {error}", error.kind),
    };
    #[expect(clippy::print_stdout, reason = "the test itself reads it")]
    {
        println!("\n{PRINTED}{outcome}");
    }
    Some(())
}

/// Makes one call with credentials of a kind, in a process of its own. Returns "answered", or the kind and text of the error.
pub(super) async fn outer(test: &str, kind: &str, endpoint: &str, variables: &[(&str, &str)]) -> String {
    let output = tokio::process::Command::new(std::env::current_exe().expect("a test binary"))
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), (KIND, kind), (ENDPOINT, endpoint)])
        // A folder without files and no metadata service: what a test does not tell of is not there.
        .envs([("HOME", "/nonexistent"), ("AWS_EC2_METADATA_DISABLED", "true")])
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let printed = stdout.lines().find_map(|line| line.strip_prefix(PRINTED));
    printed.unwrap_or_else(|| panic!("{test} did not call\n{stdout}\n{stderr}")).to_owned()
}

fn home(config: &str, credentials: &str) -> TempDir {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(home.path().join(".aws")).expect("a writable folder");
    std::fs::write(home.path().join(".aws/config"), config).expect("a writable folder");
    std::fs::write(home.path().join(".aws/credentials"), credentials).expect("a writable folder");
    home
}

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "env-token")];

#[tokio::test]
async fn env_and_auto_take_the_keys_of_the_environment() {
    if inner().await.is_some() {
        return;
    }
    for kind in ["env", "auto"] {
        let witness = Witness::start().await;
        let test = "access::environment::env_and_auto_take_the_keys_of_the_environment";
        assert_eq!(outer(test, kind, &witness.endpoint, &KEYS).await, "answered");
        assert_eq!(witness.last(), ("AKIAENV".to_owned(), Some("env-token".to_owned())));
    }
}

#[tokio::test]
async fn env_looks_nowhere_else_and_says_which_variables_are_missing() {
    if inner().await.is_some() {
        return;
    }
    let witness = Witness::start().await;
    let home = home("", "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = hush\n");
    let test = "access::environment::env_looks_nowhere_else_and_says_which_variables_are_missing";
    let path = home.path().to_str().expect("a plain path");
    let told = outer(test, "env", &witness.endpoint, &[("HOME", path)]).await;
    assert!(told.starts_with("Denied") && told.contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{told}");
    assert_eq!(witness.seen(), []);
    assert_eq!(outer(test, "auto", &witness.endpoint, &[("HOME", path)]).await, "answered");
    assert_eq!(witness.last().0, "AKIADEFAULT");
}

#[tokio::test]
async fn auto_that_finds_nothing_says_what_there_is_to_choose_from() {
    if inner().await.is_some() {
        return;
    }
    let witness = Witness::start().await;
    let test = "access::environment::auto_that_finds_nothing_says_what_there_is_to_choose_from";
    let told = outer(test, "auto", &witness.endpoint, &[]).await;
    assert!(told.starts_with("Denied") && told.contains("AWS_ACCESS_KEY_ID") && told.contains("--local"), "{told}");
    assert_eq!(witness.seen(), []);
}

#[tokio::test]
async fn auto_takes_on_the_role_of_a_pod() {
    if inner().await.is_some() {
        return;
    }
    let (witness, sts) = (Witness::start().await, Sts::granting().await);
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "pod.jwt").expect("a writable folder");
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().expect("a plain path")),
        ("AWS_ROLE_ARN", super::ROLE),
        ("AWS_ROLE_SESSION_NAME", "pod"),
        ("AWS_ENDPOINT_URL_STS", &sts.endpoint),
    ];
    let test = "access::environment::auto_takes_on_the_role_of_a_pod";
    assert_eq!(outer(test, "auto", &witness.endpoint, &variables).await, "answered");
    assert_eq!(sts.calls()[0].parameter("WebIdentityToken"), "pod.jwt");
    assert_eq!(witness.last().0, session(1)[0]);
}

#[tokio::test]
async fn a_profile_takes_on_its_role_with_its_source_profile() {
    if inner().await.is_some() {
        return;
    }
    let config = format!("[profile reader]\nrole_arn = {}\nsource_profile = base\nexternal_id = 42\n", super::ROLE);
    let home = home(&config, "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = hush\n");
    let test = "access::environment::a_profile_takes_on_its_role_with_its_source_profile";
    for (answer, told) in [(Answer::Grant(Duration::from_secs(3600)), "answered"), (Answer::denied(), "Denied")] {
        let (witness, sts) = (Witness::start().await, Sts::start(&[answer]).await);
        let variables =
            [("HOME", home.path().to_str().expect("a plain path")), ("AWS_ENDPOINT_URL_STS", &sts.endpoint)];
        let outcome = outer(test, "reader", &witness.endpoint, &variables).await;
        assert!(outcome.starts_with(told), "{outcome}");
        let asked = &sts.calls()[0];
        assert_eq!((asked.access_key.as_deref(), asked.parameter("ExternalId")), (Some("AKIABASE"), "42"));
        if told == "Denied" {
            assert!(outcome.contains("AccessDenied") && outcome.contains("profile \"reader\""), "{outcome}");
            assert!(!outcome.contains("hush"), "{outcome}");
        }
    }
}

#[tokio::test]
async fn a_profile_of_single_sign_on_is_told_what_to_do_instead() {
    if inner().await.is_some() {
        return;
    }
    let home = home(
        "[profile dev]\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = r\n",
        "",
    );
    let witness = Witness::start().await;
    let test = "access::environment::a_profile_of_single_sign_on_is_told_what_to_do_instead";
    let variables = [("HOME", home.path().to_str().expect("a plain path"))];
    let told = outer(test, "dev", &witness.endpoint, &variables).await;
    assert!(told.starts_with("Denied") && told.contains("export-credentials"), "{told}");
}

/// The same as `settings`, so that a process of its own differs in nothing but its environment.
#[tokio::test]
async fn a_process_of_its_own_calls_like_the_test_itself() {
    if inner().await.is_some() {
        return;
    }
    let witness = Witness::start().await;
    call(&settings(&witness, super::basic()).access().await).await.expect("answered");
    let test = "access::environment::a_process_of_its_own_calls_like_the_test_itself";
    assert_eq!(outer(test, "basic", &witness.endpoint, &[]).await, "answered");
    let [here, there] = &witness.seen()[..] else { panic!("two calls") };
    assert_eq!(here, there);
}
