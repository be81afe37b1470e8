//! The program's flags.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use localcloud::AccessKey;

use crate::stage::{client, refusal};

/// The program, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
    }
}

fn localcloud(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_localcloud"));
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    command
}

/// Which of some calls are refused.
async fn refused(seed: &str) -> Vec<bool> {
    let world = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/world.json");
    let mut command = localcloud(&["--faults", "sts throttle 50%", "--fault-seed", seed, "--world"]);
    let mut program = Program(command.arg(world).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(program.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let started: serde_json::Value = serde_json::from_str(&line).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let user = &started["users"][0];
    let key = AccessKey { id: text(&user["id"]), secret: text(&user["secret"]), token: None };
    let sts = client!(aws_sdk_sts, text(&started["endpoint"]), &key, |config| config);
    let mut refused = Vec::new();
    for _ in 0..20 {
        let result = sts.get_caller_identity().send().await;
        refused.push(result.is_err());
        if result.is_err() {
            assert_eq!(refusal(result), ("Throttling".to_owned(), 400));
        }
    }
    refused
}

#[tokio::test]
async fn the_program_has_faults_and_a_seed() {
    let first = refused("7").await;
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert_eq!(refused("7").await, first);
    assert_ne!(refused("8").await, first);
}

#[test]
fn a_wrong_specification_ends_it_with_one_line() {
    let output = localcloud(&["--faults", "light; s3 cutt"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    let expected = "localcloud: --faults: rule 2, \"s3 cutt\": \"cutt\" is not allowed; allowed: throttle, 500, ";
    assert!(text.starts_with(expected) && text.lines().count() == 1, "{text}");
}
