//! Messages that come again or in another order, and changes that are lost.

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use localcloud::QueueDepth;

use crate::stage::{Stage, refusal};

async fn receive(stage: &Stage, most: i32) -> Vec<Message> {
    let receive = stage.sqs.receive_message().queue_url(stage.queue_url()).max_number_of_messages(most);
    let receive = receive.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
    receive.send().await.unwrap().messages.unwrap_or_default()
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body().unwrap()).collect()
}

fn receives(message: &Message) -> &str {
    &message.attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount]
}

async fn delete(stage: &Stage, message: &Message) {
    let delete = stage.sqs.delete_message().queue_url(stage.queue_url());
    delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
}

const HIDDEN: QueueDepth = QueueDepth { visible: 0, in_flight: 1 };

#[tokio::test]
async fn a_hidden_message_is_received_again() {
    // Where nothing is hidden yet nothing can come again: the rule waits.
    let stage = Stage::new("sqs duplicate times=1").await;
    stage.cloud.send(&stage.queue, "one");
    let (first, second, third) = (receive(&stage, 10).await, receive(&stage, 10).await, receive(&stage, 10).await);
    assert_eq!((bodies(&first), bodies(&second), third.len()), (vec!["one"], vec!["one"], 0));
    assert_eq!(first[0].message_id(), second[0].message_id());
    assert_eq!((receives(&first[0]), receives(&second[0])), ("1", "2"));
    assert_eq!((stage.done("duplicate"), stage.cloud.disorder(&stage.queue)), (1, 1));
    // The receipt of the first delivery is an old one.
    delete(&stage, &first[0]).await;
    assert_eq!(stage.cloud.queue_depth(&stage.queue), HIDDEN);
    delete(&stage, &second[0]).await;
    assert_eq!(stage.cloud.queue_depth(&stage.queue), QueueDepth::default());
}

#[tokio::test]
async fn messages_come_in_another_order() {
    let stage = Stage::new("sqs reorder times=2").await;
    let sent = ["one", "two", "three", "four"];
    // One alone has no order.
    stage.cloud.send(&stage.queue, "alone");
    delete(&stage, &receive(&stage, 10).await[0]).await;
    assert_eq!(stage.cloud.disorder(&stage.queue), 0);
    for body in sent {
        stage.cloud.send(&stage.queue, body);
    }
    let mut all = receive(&stage, 1).await;
    assert_ne!(bodies(&all), ["one"]);
    let rest = receive(&stage, 10).await;
    let left: Vec<&str> = sent.into_iter().filter(|body| *body != all[0].body().unwrap()).collect();
    assert_ne!(bodies(&rest), left);
    all.extend(rest);
    let (mut got, mut sent) = (bodies(&all), sent);
    got.sort_unstable();
    sent.sort_unstable();
    assert_eq!(got, sent);
    assert!(stage.done("reorder") == 2 && stage.cloud.disorder(&stage.queue) > 0);
}

#[tokio::test]
async fn dead_letters_are_put_back_as_new_messages() {
    let stage = Stage::new("sqs 500 0%").await;
    let dead = stage.cloud.create_queue("111111111111", "dead", std::time::Duration::from_secs(30), None);
    for body in ["one", "two"] {
        stage.cloud.send(&dead, body);
    }
    assert_eq!((stage.cloud.redrive(&dead, "nowhere"), stage.cloud.redrive("nowhere", &dead)), (0, 0));
    assert_eq!(stage.cloud.redrive(&dead, &stage.queue), 2);
    assert_eq!(stage.cloud.queue_depth(&dead), QueueDepth::default());
    let messages = receive(&stage, 10).await;
    assert_eq!((bodies(&messages), receives(&messages[0])), (vec!["one", "two"], "1"));
}

#[tokio::test]
async fn a_change_of_visibility_is_lost() {
    let stage = Stage::new("sqs lost-hide times=1").await;
    stage.cloud.send(&stage.queue, "one");
    let message = receive(&stage, 1).await.remove(0);
    let show = || {
        let change = stage.sqs.change_message_visibility().queue_url(stage.queue_url());
        change.receipt_handle(message.receipt_handle().unwrap()).visibility_timeout(0).send()
    };
    show().await.unwrap();
    assert_eq!((stage.cloud.queue_depth(&stage.queue), stage.done("lost-hide")), (HIDDEN, 1));
    show().await.unwrap();
    assert_eq!(stage.cloud.queue_depth(&stage.queue), QueueDepth { visible: 1, in_flight: 0 });
}

#[tokio::test]
async fn a_delete_is_lost() {
    let stage = Stage::new("sqs lost-delete times=2").await;
    stage.cloud.send(&stage.queue, "one");
    let message = receive(&stage, 1).await.remove(0);
    delete(&stage, &message).await;
    assert_eq!((stage.cloud.queue_depth(&stage.queue), stage.done("lost-delete")), (HIDDEN, 1));
    let entry = DeleteMessageBatchRequestEntry::builder().id("0").receipt_handle(message.receipt_handle().unwrap());
    let batch = stage.sqs.delete_message_batch().queue_url(stage.queue_url()).entries(entry.build().unwrap());
    let answer = batch.send().await.unwrap();
    assert_eq!((answer.successful().len(), answer.failed().len()), (1, 0));
    assert_eq!((stage.cloud.queue_depth(&stage.queue), stage.done("lost-delete")), (HIDDEN, 2));
    delete(&stage, &message).await;
    assert_eq!(stage.cloud.queue_depth(&stage.queue), QueueDepth::default());
    // What is gone cannot stay.
    stage.faults("sqs lost-delete", 0);
    delete(&stage, &message).await;
    assert_eq!(stage.done("lost-delete"), 2);
}

/// Faults of all sorts happen until they are stopped; then all that is left is done at once.
#[tokio::test]
async fn a_queue_drains_when_the_faults_are_stopped() {
    const MESSAGES: usize = 40;
    let stage = Stage::new("* throttle 20%; * reset-before 10%; * reset-after 10%; sqs lost-delete 50%").await;
    for at in 0..MESSAGES {
        stage.cloud.send(&stage.queue, at.to_string());
    }
    let (mut seen, mut failed) = (0, 0);
    while stage.cloud.faults_done().len() < 4 || seen < MESSAGES / 2 {
        let receive = stage.sqs.receive_message().queue_url(stage.queue_url()).send().await;
        let Ok(answer) = receive else {
            failed += 1;
            continue;
        };
        for message in answer.messages() {
            seen += 1;
            let delete = stage.sqs.delete_message().queue_url(stage.queue_url());
            failed += u64::from(delete.receipt_handle(message.receipt_handle().unwrap()).send().await.is_err());
        }
        stage.cloud.advance(std::time::Duration::from_secs(600));
    }
    let happened = stage.cloud.faults_done();
    assert_eq!(
        happened.iter().filter(|(kind, _)| **kind != "lost-delete").map(|(_, count)| count).sum::<u64>(),
        failed
    );
    stage.cloud.set_faults(None);
    stage.cloud.advance(std::time::Duration::from_secs(600));
    while let [message] = &receive(&stage, 1).await[..] {
        delete(&stage, message).await;
    }
    assert_eq!(stage.cloud.queue_depth(&stage.queue), QueueDepth::default());
    assert_eq!(stage.cloud.faults_done(), happened);
}

#[tokio::test]
async fn a_reset_receive_hides_what_nobody_got() {
    let stage = Stage::new("sqs reset-after times=1; sqs throttle times=1").await;
    stage.cloud.send(&stage.queue, "one");
    assert!(stage.sqs.receive_message().queue_url(stage.queue_url()).send().await.is_err());
    assert_eq!(stage.cloud.queue_depth(&stage.queue), HIDDEN);
    let throttled = stage.sqs.receive_message().queue_url(stage.queue_url()).send().await;
    assert_eq!(refusal(throttled).0, "RequestThrottled");
}
