//! The runner against a real process that speaks Lambda's runtime API.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local::{Outcome, Runner, python};
use serde_json::json;

/// A function that does what its event says.
const FUNCTION: &str = r#"
import http.client, json, os, subprocess, sys, time
host = os.environ["AWS_LAMBDA_RUNTIME_API"]
def call(method, path, body=None):
    connection = http.client.HTTPConnection(host)
    connection.request(method, "/2018-06-01/runtime/" + path, body)
    answer = connection.getresponse()
    return dict(answer.getheaders()), answer.read()
while True:
    headers, body = call("GET", "invocation/next")
    headers = {name.lower(): value for name, value in headers.items()}
    event, request = json.loads(body), "invocation/" + headers["lambda-runtime-aws-request-id"]
    print("event", event["do"], flush=True)
    if event["do"] == "answer":
        left = int(headers["lambda-runtime-deadline-ms"]) - int(time.time() * 1000)
        call("POST", request + "/response", json.dumps({"left": left, "seen": sorted(os.environ), "arn": headers["lambda-runtime-invoked-function-arn"]}))
    elif event["do"] == "fail":
        call("POST", request + "/error", json.dumps({"errorType": "Denied", "errorMessage": "no"}))
    elif event["do"] == "exit":
        print("last words", file=sys.stderr, flush=True)
        os._exit(3)
    elif event["do"] == "hang":
        child = subprocess.Popen(["sleep", "1000"])
        print("child", child.pid, flush=True)
        time.sleep(1000)
    elif event["do"] == "eat":
        eaten = bytearray(os.urandom(1 << 20) * 64)
        call("POST", request + "/response", json.dumps(len(eaten)))
"#;

fn function(folder: &Path) -> PathBuf {
    let file = folder.join("boot strap");
    std::fs::write(&file, format!("#!{}\n{FUNCTION}", python::find().expect("python3").display())).expect("write");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("make executable");
    file
}

fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits for a line of the function's output.
async fn child_of(runner: &Runner) -> u32 {
    loop {
        if let Some(pid) = runner.stdout_lines().iter().find_map(|line| line.strip_prefix("child ").map(str::to_owned)) {
            return pid.parse().expect("pid");
        }
        tokio::task::yield_now().await;
    }
}

const LONG: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn answers_errors_and_death_are_told_apart() {
    let folder = tempfile::tempdir().expect("folder");
    let runner = Runner::start(&function(folder.path()), &[("GIVEN".into(), "1".into())]).await.expect("start");
    let answer = runner.invoke(&json!({"do": "answer"}), LONG).await.ok().expect("answer");
    let left = answer["left"].as_i64().expect("left");
    assert!((55_000..=60_000).contains(&left), "the deadline is {left} ms away");
    let seen: Vec<&str> = answer["seen"].as_array().expect("list").iter().filter_map(|name| name.as_str()).collect();
    assert!(seen.contains(&"GIVEN") && !seen.contains(&"HOME") && !seen.contains(&"CARGO_MANIFEST_DIR"), "{seen:?}");
    let failed = runner.invoke(&json!({"do": "fail"}), LONG).await;
    assert_eq!(failed, Outcome::Err { kind: "Denied".into(), message: "no".into() });
    let died = runner.invoke(&json!({"do": "exit"}), LONG).await;
    assert_eq!(died, Outcome::Died { status: "exit status: 3".into() });
    let (stdout, stderr) = runner.end().await;
    assert_eq!(stdout, ["event answer", "event fail", "event exit"]);
    assert_eq!(stderr, ["last words"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_measured() {
    let folder = tempfile::tempdir().expect("folder");
    let runner = Runner::start(&function(folder.path()), &[]).await.expect("start");
    runner.invoke(&json!({"do": "eat"}), LONG).await.ok().expect("answer");
    runner.invoke(&json!({"do": "answer"}), LONG).await.ok().expect("answer");
    let megabytes = runner.peak_rss_bytes() >> 20;
    assert!((64..200).contains(&megabytes), "{megabytes} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_ends_the_function_and_its_children() {
    let folder = tempfile::tempdir().expect("folder");
    let runner = Runner::start(&function(folder.path()), &[]).await.expect("start");
    let event = json!({"do": "hang"});
    let (outcome, child) = tokio::join!(runner.invoke(&event, Duration::from_secs(2)), child_of(&runner));
    assert_eq!(outcome, Outcome::TimedOut);
    runner.died().await;
    drop(runner);
    assert!(!runs(child), "the child is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_can_be_killed_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let runner = Runner::start(&function(folder.path()), &[]).await.expect("start");
    let event = json!({"do": "hang"});
    let kill = async {
        let child = child_of(&runner).await;
        runner.kill_function_only();
        child
    };
    let (outcome, child) = tokio::join!(runner.invoke(&event, LONG), kill);
    assert_eq!(outcome, Outcome::Died { status: "signal: 9 (SIGKILL)".into() });
    assert!(!runs(runner.pid()) && runs(child), "the child should be left");
    drop(runner);
    assert!(!runs(child), "the child is left after the end");
}
