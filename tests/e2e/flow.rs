//! Nothing waits where it must not: design of the flow control, on one compute thread.

use crate::stage::{CENTRAL, Daemon, Stage, Tenant, until};

/// Lanes that get no answer any more, of tenants of their own and of one tenant.
const STUCK_TENANTS: usize = 6;
const STUCK_STREAMS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn stuck_lanes_leave_the_one_compute_thread_and_the_memory_to_others() {
    let mut stage = Stage::new().await;
    let quiet = stage.tenant("quiet", |_| {});
    let stuck: Vec<_> = (0..STUCK_TENANTS).map(|at| stage.tenant(&format!("stuck-{at}"), |_| {})).collect();
    for tenant in &stuck {
        stage.cloud.hold("PutLogEvents", &tenant.account);
    }
    // Several batches for each stuck lane, so that it has one in flight, one waiting and one open.
    let line = "x".repeat(900);
    let messages = vec![line; 4_000];
    for object in 0..2 {
        for (at, _) in stuck.iter().enumerate() {
            for stream in 0..STUCK_STREAMS / (at + 1) {
                stage.put_messages(&format!("stuck-{at}/c1/api/pod-{stream}/{object}.json.gz"), &messages);
            }
        }
    }
    let kept = stage.left().0;
    let daemon = stage.sqs(&[("COMPUTE_THREADS", "1")]);
    for tenant in &stuck {
        until("every stuck tenant has a batch on its way", || stage.calls("PutLogEvents", &tenant.account) > 0).await;
    }

    // The others' objects come through behind all that, again and again.
    for round in 0..20 {
        stage.put_messages(&format!("quiet/c1/api/pod-0/{round}.json.gz"), &[format!("round {round}")]);
        until("the quiet tenant's event arrives", || stage.messages(&quiet, "pod-0").len() == round + 1).await;
    }

    // And nothing of the stuck ones is lost.
    for tenant in &stuck {
        stage.cloud.release("PutLogEvents", &tenant.account);
    }
    stage.until_settled(0).await;
    daemon.stop().await;
    let mut arrived = 0;
    stage.cloud.each_stream(|account, _, _, _, content| {
        if account != quiet.account {
            arrived += content.events().len();
        }
    });
    assert!(arrived >= kept * messages.len(), "{arrived} of {}", kept * messages.len());
}

/// Objects of one tenant, of which half may be in work, so that the other half has to wait.
const BACKLOG: usize = 20;

/// A tenant's backlog whose calls get no answer, all of it received, and a daemon that has as many places.
async fn backlog(settings: &[(&'static str, &'static str)]) -> (Stage, Tenant, Daemon) {
    let mut stage = Stage::new().await;
    let loud = stage.tenant("loud", |_| {});
    stage.cloud.hold("PutLogEvents", &loud.account);
    for object in 0..BACKLOG {
        stage.put_messages(&format!("loud/c1/api/pod-0/{object}.json.gz"), &[format!("object {object}")]);
    }
    let mut all = vec![("MESSAGES_MAX", "20"), ("LOG_LEVEL", "debug")];
    all.extend(settings);
    let daemon = stage.sqs(&all);
    until("all were received", || stage.left() == (BACKLOG, 0)).await;
    until("its batch is on its way", || stage.calls("PutLogEvents", &loud.account) > 0).await;
    (stage, loud, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_a_tenants_share_waits_and_follows_in_order() {
    let (mut stage, loud, daemon) = backlog(&[]).await;
    let quiet = stage.tenant("quiet", |_| {});
    stage.put_messages("quiet/c1/api/pod-0/0.json.gz", &["quiet"]);
    until("the quiet tenant's event arrives", || stage.messages(&quiet, "pod-0").len() == 1).await;
    // One of them is the quiet one's.
    let read = stage.calls("GetObject", CENTRAL);
    assert!((2..=BACKLOG as u64 / 2 + 1).contains(&read), "{read} objects were read");
    stage.cloud.release("PutLogEvents", &loud.account);
    stage.until_settled(0).await;
    assert!(!daemon.has_logged("handed back"));
    daemon.stop().await;
    let wanted: Vec<String> = (0..BACKLOG).map(|object| format!("object {object}")).collect();
    assert_eq!(stage.messages(&loud, "pod-0"), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_tenants_share_is_handed_back_when_the_drain_begins() {
    let (stage, loud, mut daemon) = backlog(&[("DRAIN_TIMEOUT", "1h")]).await;
    daemon.tell("-TERM");
    until("what waited is there for another replica", || stage.left() == (BACKLOG, BACKLOG / 2)).await;
    stage.cloud.release("PutLogEvents", &loud.account);
    let (status, _) = daemon.ended().await;
    assert!(status.success(), "{status}");
    assert_eq!(stage.left(), (BACKLOG / 2, BACKLOG / 2));
    assert_eq!(stage.messages(&loud, "pod-0").len(), BACKLOG / 2, "what was in work is finished");
}
