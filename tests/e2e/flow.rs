//! Nothing waits where it must not: design of the flow control, on one compute thread.

use crate::stage::{Stage, until};

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
