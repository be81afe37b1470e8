//! The program, called by boto3: a client that is not ours says whether calls, limits and errors are those of AWS.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "what the tests share is test code too")]

#[path = "../../../tests/support/venv.rs"]
mod venv;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use localcloud::{Cloud, World};

use self::venv::run;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boto3").join(name)
}

/// The environment's Python, installed on the first run; none where that is not possible and not required.
fn python() -> Option<&'static PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(|| venv::python("boto3", &["boto3"], "boto3")).as_ref()
}

/// The program, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
    }
}

fn program(arguments: &[&str]) -> (Program, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_localcloud"))
        .args(["--listen", "127.0.0.1:0", "--world"])
        .arg(file("world.json"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Program(program), line)
}

/// Runs one part of the script.
fn script(python: &Path, part: &str, started: &str) {
    let output = run(Command::new(python).arg(file("script.py")).args([part, started])).unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

/// Runs a part against a program of its own. Gives the program's largest size in memory, unless the part was skipped.
fn part(name: &str, arguments: &[&str]) -> Option<u64> {
    let python = python()?;
    let (program, started) = program(arguments);
    script(python, name, &started);
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.0.id())).ok()?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    Some(most?.parse::<u64>().unwrap() * 1024)
}

#[test]
fn credentials_are_checked_by_every_service() {
    let _skipped = part("credentials", &[]);
}

#[test]
fn a_signature_of_s3_is_whole_and_over_what_counts() {
    let _skipped = part("signatures", &[]);
}

#[test]
fn accounts_and_roles_are_walls() {
    let _skipped = part("roles", &[]);
}

#[test]
fn put_log_events_has_its_limits() {
    let _skipped = part("limits", &[]);
}

#[test]
fn what_arrived_can_be_read() {
    let _skipped = part("reading", &[]);
}

#[test]
fn objects_are_kept_and_told_of() {
    let _skipped = part("objects", &[]);
}

#[test]
fn no_condition_is_passed_over() {
    let _skipped = part("conditions", &[]);
}

#[test]
fn objects_are_kept_in_a_directory_too() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("made/here");
    if part("objects", &["--data", data.to_str().unwrap()]).is_some() {
        assert_eq!(std::fs::read(data.join("central-logs/a%20b%2Bc%2Fd%26e%3Df")).unwrap(), b"12345");
        // Two versions are two files, and of what was replaced or refused none is left.
        assert_eq!(std::fs::read(data.join("versions/k~2")).unwrap(), b"second");
        let mut kept: Vec<_> =
            std::fs::read_dir(data.join("quiet")).unwrap().map(|it| it.unwrap().file_name()).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["k~2", "large"]);
        assert!(!data.join("central-logs/bad").exists());
    }
}

#[test]
fn what_cannot_be_written_is_no_object() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("central-logs"), b"where the bucket's directory would be").unwrap();
    let _skipped = part("unkept", &["--data", root.path().to_str().unwrap()]);
}

/// An object of 64 MiB is written, and read by clients that take their time.
#[test]
fn a_large_object_streams() {
    const OBJECT_BYTES: u64 = 64 << 20;
    let root = tempfile::tempdir().unwrap();
    if let Some(most) = part("large", &["--data", root.path().to_str().unwrap()]) {
        assert!(most < OBJECT_BYTES / 2, "{most} bytes with the object in a file");
    }
    if let Some(most) = part("large", &[]) {
        assert!(most < OBJECT_BYTES * 3 / 2, "{most} bytes with the object in memory");
    }
}

#[test]
fn a_directory_that_cannot_be_had_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_localcloud")).args(["--data", "/dev/null/x"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("localcloud: objects cannot be kept in /dev/null/x: "), "{text}");
}

#[test]
fn a_wrong_world_is_told_by_file_and_field() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("world.json");
    std::fs::write(&file, r#"{ "queues": [{ "account": "111111111111", "nam": "x" }] }"#).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_localcloud")).arg("--world").arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!("localcloud: {}: queues[0].nam: unknown field `nam`", file.display());
    assert!(text.starts_with(&expected) && text.lines().count() == 1, "{text}");
}

/// The file that the README shows.
#[test]
fn the_example_is_a_world() {
    World::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/world.json")).unwrap();
}

#[test]
fn queues_hide_return_and_give_up_messages() {
    let _skipped = part("queues", &[]);
}

#[test]
fn tables_are_filled_and_queried() {
    let _skipped = part("tables", &[]);
}

/// Five calls for each rule, one of each service, in turn; behind them half of STS's calls fail in two ways.
#[test]
fn faults_are_errors_of_the_services() {
    const KINDS: [&str; 8] = ["throttle", "500", "503", "expired", "skewed", "denied", "reset-before", "reset-after"];
    let of_all: String = KINDS.iter().map(|kind| format!("* {kind} times=5; ")).collect();
    let spec = of_all + "sts 500 50%; sts reset-before 50%";
    let _skipped = part("faults", &["--faults", &spec, "--fault-seed", "7"]);
}

/// A cloud with the world of the tests, and what is said when it starts.
async fn world() -> (Cloud, String) {
    let cloud = Cloud::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "us-east-1").await.unwrap();
    let started = World::read(&file("world.json")).unwrap().make(&cloud).unwrap();
    let started = serde_json::to_string(&started).unwrap();
    (cloud, started)
}

/// Starts a part of the script that tells and is told how far things are, a line each.
fn talk(python: &Path, part: &str, started: &str) -> (Child, BufReader<ChildStdout>) {
    let mut script = Command::new(python)
        .arg(file("script.py"))
        .args([part, started])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(script.stdout.take().unwrap());
    (script, said)
}

/// The cloud's time is moved on here while the script waits.
#[tokio::test]
async fn sessions_expire_on_every_service() {
    let Some(python) = python() else { return };
    let (cloud, started) = world().await;
    let ended = tokio::task::spawn_blocking(move || {
        let (mut script, mut said) = talk(python, "expiry", &started);
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        cloud.advance(Duration::from_secs(3600));
        script.stdin.take().unwrap().write_all(b"go\n").unwrap();
        (script.wait().unwrap(), cloud)
    });
    let (status, cloud) = ended.await.unwrap();
    assert!(status.success(), "{status}");
    cloud.stop().await;
}

/// Calls of every kind wait for [`Cloud::release`], and find the time that it is then.
#[tokio::test]
async fn held_calls_are_answered_later_and_by_the_time_of_then() {
    const CENTRAL: &str = "111111111111";
    const HELD: [&str; 3] = ["PutObject", "AssumeRole", "CreateLogGroup"];
    let Some(python) = python() else { return };
    let (cloud, started) = world().await;
    let ended = tokio::task::spawn_blocking(move || {
        let (mut script, mut said) = talk(python, "held", &started);
        let mut stdin = script.stdin.take().unwrap();
        let calls = |operation: &str| {
            let calls = cloud.calls();
            calls.iter().filter(|((_, of, _), _)| of == operation).map(|(_, count)| count).sum::<u64>()
        };
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        for operation in HELD {
            cloud.hold(operation, CENTRAL);
        }
        stdin.write_all(b"held\n").unwrap();
        while calls("PutObject") < 2 || calls("AssumeRole") == 0 || calls("CreateLogGroup") == 0 {
            assert!(script.try_wait().unwrap().is_none(), "the script ended early");
            std::thread::yield_now();
        }
        stdin.write_all(b"arrived\n").unwrap();
        line.clear();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        cloud.advance(Duration::from_secs(3600));
        for operation in HELD {
            cloud.release(operation, CENTRAL);
        }
        stdin.write_all(b"released\n").unwrap();
        (script.wait().unwrap(), cloud)
    });
    let (status, cloud) = ended.await.unwrap();
    assert!(status.success(), "{status}");
    cloud.stop().await;
}

#[test]
fn it_ends_cleanly_when_told_to() {
    for signal in ["TERM", "INT"] {
        let (mut program, line) = program(&[]);
        assert!(line.starts_with("{\"endpoint\":\"http://127.0.0.1:"), "{line}");
        run(Command::new("kill").arg(format!("-{signal}")).arg(program.0.id().to_string())).unwrap();
        assert_eq!(program.0.wait().unwrap().code(), Some(0));
    }
}
