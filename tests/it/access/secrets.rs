//! No secret leaves the process but to where it belongs: the real binary is run with secrets of every kind, where all goes
//! well and where it does not, with all logging on; then everything that it wrote anywhere is searched for them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tests::ferro::Ferro;
use tests::process::sluicebox;
use tests::sts::{Answer, Sts};
use tests::witness::Witness;

/// Every secret that these tests make up has this word in it; STS's have the others.
const SECRETS: [&str; 3] = ["hush", "issued-secret", "issued-token"];
const STREAM: &str = "words";
const TEXT: &str = "hello";

/// One way to sign: the text of `[aws]`'s tables, and the environment.
struct Kind {
    name: &'static str,
    tables: String,
    variables: Vec<(&'static str, String)>,
}

struct Scene {
    folder: TempDir,
    ferro: Ferro,
}

/// What a run left.
struct Left {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().expect("a folder"), ferro: Ferro::start().await };
        scene.ferro.create(STREAM, 1).await;
        scene.ferro.put(STREAM, None, &[("key".to_owned(), TEXT.as_bytes().to_vec())]).await;
        scene.write("token", "hush.jwt.of.a.pod");
        scene.write(
            "credentials",
            "[p]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = hush-profile\naws_session_token = hush-profile-token\n",
        );
        scene.write(
            "vault",
            "{\"Version\": 1, \"AccessKeyId\": \"AKIAPROCESS\", \"SecretAccessKey\": \"hush-process\", \"SessionToken\": \"hush-process-token\"}",
        );
        scene
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a writable folder");
    }

    /// All kinds that there are, the roles at `sts`.
    fn kinds(&self, sts: &Sts) -> Vec<Kind> {
        let at = &sts.endpoint;
        let role = |source: &str| {
            format!("assume_role = {{ role_arn = {:?}, source = {source:?}, sts_endpoint = {at:?} }}\n", super::ROLE)
        };
        let basic = "basic = { access_key_id = \"AKIABASIC\", secret_access_key = \"${SECRET}\", session_token = \"hush-token\" }\n";
        let profile = "profile = { name = \"p\", file = \"credentials\" }\n";
        let process = "process = { command = [\"sh\", \"-c\", \"echo hush-stderr >&2; cat vault\", \"hush-argument\"], timeout = \"50s\" }\n";
        let federated = format!(
            "web_identity = {{ role_arn = {:?}, token_file = \"token\", sts_endpoint = {at:?} }}\n",
            super::ROLE
        );
        let keys = || {
            vec![
                ("AWS_ACCESS_KEY_ID", "AKIAENV".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "hush-env".to_owned()),
                ("AWS_SESSION_TOKEN", "hush-env-token".to_owned()),
            ]
        };
        let kind = |name: &'static str, word: &str, tables: &str, variables| Kind {
            name,
            tables: format!("credentials = {word:?}\n{tables}"),
            variables,
        };
        let in_file = vec![("AWS_SHARED_CREDENTIALS_FILE", self.path("credentials")), ("AWS_PROFILE", "p".to_owned())];
        vec![
            kind("basic", "basic", basic, vec![]),
            kind("env", "env", "", keys()),
            kind("auto", "auto", "", in_file),
            kind("profile", "profile", profile, vec![]),
            kind("process", "process", process, vec![]),
            kind("web identity", "web-identity", &federated, vec![]),
            kind("role of basic", "assume-role", &format!("{}{basic}", role("basic")), vec![]),
            kind("role of process", "assume-role", &format!("{}{process}", role("process")), vec![]),
            kind("role of env", "assume-role", &role("env"), keys()),
        ]
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a plain path").to_owned()
    }

    /// Writes the manifest of a pipeline that signs with `kind` at `endpoint`; each has positions of its own.
    fn manifest(&self, kind: &Kind, endpoint: &str) {
        let component = tests::component("passthrough");
        let stream = tests::ferro::arn(STREAM);
        self.write(
            "p.toml",
            &format!(
                "version = 1\nname = \"words\"\n[source]\ntype = \"kinesis\"\nstream_arn = \"{stream}\"\n\
                 initial_position = \"trim-horizon\"\n[deserializer]\ncomponent = {component:?}\n[[sink]]\ntype = \"stdout\"\n\
                 [aws]\nendpoint = {endpoint:?}\nretry = {{ max_attempts = 2, min_delay = \"1ms\", max_delay = \"2ms\" }}\n\
                 timeouts = {{ call = \"60s\" }}\n{}",
                kind.tables
            ),
        );
    }

    /// Runs the binary with nothing in its environment but what `kind` has there.
    async fn run(&self, kind: &Kind, arguments: &[&str]) -> Left {
        let mut command = tokio::process::Command::new(sluicebox());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("HOME", "/nonexistent"), ("AWS_EC2_METADATA_DISABLED", "true")])
            .envs([("SECRET", "hush-variable"), ("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")])
            .envs(kind.variables.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(120), command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{}: the binary does not end", kind.name)).expect("started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Left { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Panics if a secret stands in what a run wrote: to its streams, or to any file of its own.
    #[track_caller]
    fn expect_silence(&self, kind: &Kind, left: &Left) {
        let mut written = vec![
            ("stdout".to_owned(), left.stdout.clone().into_bytes()),
            ("stderr".to_owned(), left.stderr.clone().into_bytes()),
        ];
        files(&self.folder.path().join(".sluicebox"), &mut written);
        for (place, bytes) in written {
            for secret in SECRETS {
                if let Some(at) = bytes.windows(secret.len()).position(|window| window == secret.as_bytes()) {
                    let around = &bytes[at.saturating_sub(300)..bytes.len().min(at + 60)];
                    panic!("{}: {place} has {secret:?} in it:\n{}", kind.name, String::from_utf8_lossy(around));
                }
            }
        }
    }

    /// Forgets the positions, so that the next run reads from the start.
    fn forget(&self) {
        drop(std::fs::remove_dir_all(self.folder.path().join(".sluicebox")));
    }
}

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    for path in paths {
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).expect("readable")));
        }
    }
}

const RUN: [&str; 5] = ["--log", "trace", "run", "--until-caught-up", "p.toml"];

#[tokio::test]
async fn no_secret_is_written_anywhere_when_all_goes_well() {
    let (scene, sts) = (Scene::new().await, Sts::granting().await);
    for kind in scene.kinds(&sts) {
        scene.manifest(&kind, &scene.ferro.endpoint);
        for arguments in [
            &RUN[..],
            &[
                "--log-format",
                "json",
                "--log",
                "trace,aws_config=trace,aws_sigv4=trace",
                "run",
                "--until-caught-up",
                "p.toml",
            ],
        ] {
            let left = scene.run(&kind, arguments).await;
            assert_eq!((left.code, left.stdout.trim()), (Some(0), TEXT), "{}\n{}", kind.name, left.stderr);
            scene.expect_silence(&kind, &left);
            assert!(
                left.stderr.contains("credentials are there"),
                "{}: nothing was logged\n{}",
                kind.name,
                left.stderr
            );
            let listed = scene.run(&kind, &["state", "list", "--json", "p.toml"]).await;
            assert_eq!(listed.code, Some(0), "{}", listed.stderr);
            scene.expect_silence(&kind, &listed);
            scene.forget();
        }
    }
}

#[tokio::test]
async fn no_secret_is_written_when_the_endpoint_is_not_there_or_refuses_and_quotes_what_was_sent() {
    let (scene, sts) = (Scene::new().await, Sts::granting().await);
    let quoted = "{\"__type\":\"InvalidSignatureException\",\"message\":\"The Canonical String should have been x-amz-security-token:hush-token\"}";
    let quoting = Witness::answering(400, quoted).await;
    let denying =
        Witness::answering(400, "{\"__type\":\"AccessDeniedException\",\"message\":\"not authorized\"}").await;
    for kind in scene.kinds(&sts) {
        for endpoint in ["http://127.0.0.1:1", &quoting.endpoint, &denying.endpoint] {
            scene.manifest(&kind, endpoint);
            let left = scene.run(&kind, &RUN).await;
            assert_eq!(left.code, Some(1), "{}\n{}", kind.name, left.stderr);
            assert!(left.stderr.contains("stream \"words\""), "{}\n{}", kind.name, left.stderr);
            scene.expect_silence(&kind, &left);
        }
    }
}

#[tokio::test]
async fn no_secret_is_written_when_credentials_cannot_be_had() {
    let scene = Scene::new().await;
    let quoting = Answer::Refuse(400, "InvalidIdentityToken", "hush.jwt.of.a.pod is not welcome".to_owned());
    let (denying, quoting) = (Sts::start(&[Answer::denied()]).await, Sts::start(&[quoting]).await);
    let mut kinds = scene.kinds(&denying);
    kinds.retain(|kind| kind.name.starts_with("role of"));
    kinds.extend(scene.kinds(&quoting).into_iter().filter(|kind| kind.name == "web identity"));
    assert_eq!(kinds.len(), 4);
    // What fails in words of its own, or of a program.
    let failing = |name, tables: &str| Kind { name, tables: tables.to_owned(), variables: Vec::new() };
    let failing_of_profile = "[p]\ncredential_process = sh -c 'echo hush-stderr >&2; exit 3' hush-argument\n";
    scene.write("failing", failing_of_profile);
    let with_file = vec![("AWS_CONFIG_FILE", scene.path("failing-config")), ("AWS_PROFILE", "p".to_owned())];
    scene.write("failing-config", &failing_of_profile.replace("[p]", "[profile p]"));
    scene.write("broken", "[p]\naws_access_key_id = AKIA\naws_secret_access_key hush\n");
    scene.write("half", "[p]\naws_secret_access_key = hush\n");
    kinds.extend([
        failing("process fails", "credentials = \"process\"\nprocess = { command = [\"sh\", \"-c\", \"cat vault; echo hush >&2; exit 3\", \"hush\"], timeout = \"50s\" }\n"),
        failing("process babbles", "credentials = \"process\"\nprocess = { command = [\"echo\", \"hush\"], timeout = \"50s\" }\n"),
        failing("process is not there", "credentials = \"process\"\nprocess = { command = [\"./nothing\", \"hush\"], timeout = \"50s\" }\n"),
        failing("profile's process fails", "credentials = \"profile\"\nprofile = { name = \"p\", file = \"failing\" }\n"),
        failing("profile is broken", "credentials = \"profile\"\nprofile = { name = \"p\", file = \"broken\" }\n"),
        failing("profile is half there", "credentials = \"profile\"\nprofile = { name = \"p\", file = \"half\" }\n"),
        Kind { name: "auto with a failing process", tables: "credentials = \"auto\"\n".to_owned(), variables: with_file },
        Kind {
            name: "env is half there",
            tables: "credentials = \"env\"\n".to_owned(),
            variables: vec![("AWS_SECRET_ACCESS_KEY", "hush-env".to_owned())],
        },
    ]);
    for kind in kinds {
        scene.manifest(&kind, &scene.ferro.endpoint);
        let left = scene.run(&kind, &RUN).await;
        assert_eq!(left.code, Some(1), "{}\n{}", kind.name, left.stderr);
        scene.expect_silence(&kind, &left);
    }
}

#[tokio::test]
async fn no_secret_is_written_when_the_manifest_is_wrong() {
    let (scene, sts) = (Scene::new().await, Sts::granting().await);
    for kind in scene.kinds(&sts) {
        for (good, bad) in [
            ("{ access_key_id = ", "{ acess_key_idd = "),
            ("secret_access_key", "sekret_acces_kee"),
            ("session_token = \"", "session_token = 5\""),
            ("session_token", "sesion_tokken"),
            ("\"${SECRET}\"", "\"${SECRET}\" hush"),
            ("basic = {", "basik = {"),
            ("process = {", "proces = {"),
            ("command = [", "comand = [ 3, "),
            ("command = [", "command = [ 3, "),
            ("timeout = \"50s\"", "timeout = \"${SECRET}\""),
            ("credentials = \"", "credentials = \"x"),
            ("role_arn = \"arn", "role_arn = \"${SECRET}arn"),
        ] {
            scene.manifest(&kind, &scene.ferro.endpoint);
            let text = std::fs::read_to_string(scene.folder.path().join("p.toml")).expect("just written");
            let tables = kind.tables.replacen(good, bad, 1);
            if tables == kind.tables {
                continue;
            }
            scene.write("p.toml", &text.replace(&kind.tables, &tables));
            for command in ["check", "run"] {
                let left = scene.run(&kind, &["--log", "trace", command, "p.toml"]).await;
                assert_eq!(left.code, Some(2), "{}: {bad}\n{}", kind.name, left.stderr);
                scene.expect_silence(&kind, &left);
            }
        }
    }
}

#[tokio::test]
async fn the_password_of_a_proxy_is_not_written() {
    let (scene, sts) = (Scene::new().await, Sts::granting().await);
    let proxy = Witness::answering(407, "who are you").await;
    let mut kind = scene.kinds(&sts).remove(0);
    kind.variables = vec![("HTTP_PROXY", proxy.endpoint.replace("http://", "http://user:hush-proxy@"))];
    scene.manifest(&kind, "http://kinesis.us-east-1.invalid");
    let left = scene.run(&kind, &RUN).await;
    assert_eq!(left.code, Some(1), "{}", left.stderr);
    assert!(!proxy.seen().is_empty(), "the proxy was not asked\n{}", left.stderr);
    scene.expect_silence(&kind, &left);
    assert!(!left.stderr.contains("dXNlcjpodXNoLXByb3h5"), "encoded, but there\n{}", left.stderr);
}
