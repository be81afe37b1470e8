//! What is there after a run, seen on the cloud's side, and whether the daemon's own counts agree with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use localcloud::Cloud;
use millrace::core::tally::Rejected;
use millrace::pipeline::budget::Budget;
use millrace::pipeline::totals::Totals;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::checker::{StreamKey, There, check_copies};
use crate::ground::{COPIES, GROUP, REGION, REJECTS, account, content, mark, name, pod};
use crate::plan::Plan;

/// What each stream has, and what of it is in the reject store.
pub(crate) fn there(cloud: &Cloud, plan: &Plan, wrong: &mut Vec<String>) -> BTreeMap<StreamKey, There> {
    let mut there: BTreeMap<StreamKey, There> = BTreeMap::new();
    cloud.each_stream(|account, region, group, stream, content| {
        if (region, group) != (REGION, GROUP) {
            wrong.push(format!("a stream in {account} {region} {group}"));
        }
        let found = There {
            events: content.digests().collect(),
            rejected: content.rejected().to_vec(),
            refused: content.refused().to_vec(),
            store: plan.keeps_rejects.then(Vec::new),
            unanswered: content.unanswered().collect(),
            store_unanswered: BTreeSet::new(),
        };
        there.insert((account.to_owned(), stream.to_owned()), found);
    });
    let unanswered = cloud.unanswered_puts(REJECTS);
    cloud.each_object(|bucket, key, bytes| {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| bucket == REJECTS && !line.is_empty());
        for line in lines {
            let line: Value = serde_json::from_slice(line).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let event = (line["event"]["timestamp"].as_i64().unwrap(), text(&line["event"]["message"]));
            let number: usize = event.1.split(' ').nth(1).unwrap().parse().unwrap();
            if crate::ground::key(plan, number) != line["key"] || name(plan.objects[number].tenant) != line["tenant"] {
                wrong.push(format!("{key} says that a line is from where it is not"));
            }
            let object = &plan.objects[number];
            let stream = there.entry((account(object.tenant), pod(object.pod))).or_default();
            let mark = mark(event);
            stream.store.get_or_insert_default().push((mark, text(&line["reason"])));
            if unanswered.contains(key) {
                stream.store_unanswered.insert(mark);
            }
        }
    });
    there
}

/// What is wrong with the tenants' buckets.
pub(crate) fn check_buckets(cloud: &Cloud, plan: &Plan) -> Vec<String> {
    let mut wrong = Vec::new();
    for (tenant, wants) in plan.tenants.iter().enumerate() {
        let own = plan.objects.iter().enumerate().filter(|(_, object)| wants.bucket() && object.tenant == tenant);
        let wanted = own.map(|(number, object)| {
            let key = format!("{COPIES}{}/api/{}/object-{number}.json.gz", name(tenant), pod(object.pod));
            (key, content(plan, number))
        });
        let mut there = BTreeMap::new();
        cloud.each_object(|bucket, key, bytes| {
            if bucket == name(tenant) {
                there.insert(key.to_owned(), bytes.to_vec());
            }
        });
        wrong.extend(check_copies(&name(tenant), &wanted.collect(), &there));
    }
    wrong
}

/// Compares what processes counted with what is there. A process knows of no event whose answer it did not get, and so many
/// may have been in flight when processes were cut off.
pub(crate) fn balance(
    sums: &[(TaskTracker, Arc<Totals>, Budget)],
    there: &BTreeMap<StreamKey, There>,
    in_flight: u64,
    wrong: &mut Vec<String>,
) {
    let (mut told, mut rejected, mut refused) = (0, 0, 0);
    for (number, (messages, totals, budget)) in sums.iter().enumerate() {
        if !messages.is_empty() {
            wrong.push(format!("process {number} left {} messages in work", messages.len()));
        }
        if budget.used() > 0 {
            wrong.push(format!("process {number} kept {} bytes of its budget", budget.used()));
        }
        for (tenant, totals) in totals.snapshot() {
            let tally = totals.tally;
            if !tally.balances() || tally.pending() > 0 {
                wrong.push(format!("process {number}: the tally of {tenant} does not balance: {tally}"));
            }
            told += tally.delivered();
            refused += tally.rejected(Rejected::Refused);
            rejected += [Rejected::TooOld, Rejected::TooNew, Rejected::Expired]
                .map(|it| tally.rejected(it))
                .iter()
                .sum::<u64>();
        }
    }
    let count = |of: &dyn Fn(&There) -> usize| -> u64 {
        there.values().map(|stream| u64::try_from(of(stream)).unwrap_or(u64::MAX)).sum()
    };
    let (kept, unanswered) = (count(&|it| it.events.len()), count(&|it| it.unanswered.len()));
    if told > kept || told + unanswered + in_flight < kept {
        wrong.push(format!("{kept} events are there, {unanswered} of them not answered, and {told} were counted"));
    }
    let turned_down = count(&|it| it.rejected.len());
    // What could not be kept in the reject store is not counted: it is sent again.
    let counts_all = there.values().all(|stream| stream.store.is_none());
    if rejected > turned_down || (counts_all && rejected + in_flight < turned_down) {
        wrong.push(format!("{turned_down} events were rejected, and {rejected} were counted"));
    }
    // Of a call that was refused the answer may be lost.
    let refusals = count(&|it| it.refused.len());
    if refused > refusals {
        wrong.push(format!("{refusals} events were refused, and {refused} were counted"));
    }
}
