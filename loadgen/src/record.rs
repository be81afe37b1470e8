//! One record of an object, in the shape that Vector's `kubernetes_logs` source and `aws_s3` sink give it.
//!
//! All but the times, the message and the stream is the same for every record of an object, so it is rendered when the
//! object is opened: a record is the constant head, middle and tail with those four between them. Keys are sorted.

use fastrand::Rng;

use crate::fleet::Names;
use crate::formats::uuid;
use crate::stamp::Stamp;
use crate::text::{Depth, Phrase};

/// The constant parts of an object's records.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    head: Vec<u8>,
    middle: Vec<u8>,
    tail: Vec<u8>,
}

impl Frame {
    /// Renders the constant parts for one pod; container and image ids come from `rng`.
    pub(crate) fn open(&mut self, names: &Names<'_>, customer: bool, rng: &mut Rng) {
        let [tenant, cluster, application, pod] =
            [names.tenant, names.cluster, names.application, names.pod].map(|name: &Phrase| name.at(Depth::Once));
        let mut uid = Vec::new();
        uuid(rng, &mut uid);
        let mut container = Vec::new();
        (0..2).for_each(|_| uuid(rng, &mut container));
        container.retain(|byte| *byte != b'-');
        let [second, third, fourth] = [(); 3].map(|()| rng.u8(..).to_string());

        let head = &mut self.head;
        head.clear();
        concat(head, &[b"{\"application\":\"", application, b"\",\"cluster_id\":\"", cluster]);
        if customer {
            concat(head, &[b"\",\"customer_id\":\"", tenant]);
        }
        concat(head, &[b"\",\"file\":\"/var/log/pods/", tenant, b"_", pod, b"_", &uid, b"/", application]);
        concat(head, &[b"/0.log\",\"ingest_timestamp\":\""]);

        let middle = &mut self.middle;
        middle.clear();
        concat(middle, &[b"\",\"kubernetes\":{\"container_id\":\"cri-o://", &container]);
        concat(
            middle,
            &[b"\",\"container_image\":\"quay.io/example/", application, b":4.19\",\"container_name\":\"", application],
        );
        middle
            .extend_from_slice(b"\",\"namespace_labels\":{\"hypershift.openshift.io/hosted-control-plane\":\"true\"},");
        middle.extend_from_slice(b"\"node_labels\":{\"kubernetes.io/os\":\"linux\"},\"pod_ip\":\"10.");
        concat(middle, &[second.as_bytes(), b".", third.as_bytes(), b".", fourth.as_bytes()]);
        concat(middle, &[b"\",\"pod_labels\":{\"app\":\"", application, b"\"},\"pod_name\":\"", pod]);
        concat(middle, &[b"\",\"pod_namespace\":\"", tenant, b"\",\"pod_node_name\":\"ip-10-0-1-", fourth.as_bytes()]);
        concat(
            middle,
            &[b"\",\"pod_owner\":\"ReplicaSet/", application, b"\",\"pod_uid\":\"", &uid, b"\"},\"message\":\""],
        );

        self.tail.clear();
        concat(&mut self.tail, &[b"\",\"namespace\":\"", tenant, b"\",\"pod_name\":\"", pod]);
        self.tail.extend_from_slice(b"\",\"source_type\":\"kubernetes_logs\",\"stream\":\"");
    }

    /// Everything before the message. `lag_nanos` are the digits of the ingest time behind the event's milliseconds.
    #[inline]
    pub(crate) fn before_message(&self, stamp: &Stamp, lag_nanos: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        stamp.iso(3, b"", out);
        // Nine digits as Vector writes them: six behind the milliseconds, the first of them never zero.
        crate::stamp::decimal(100_000 + lag_nanos % 900_000, out);
        out.push(b'Z');
        out.extend_from_slice(&self.middle);
    }

    /// Everything behind the message.
    #[inline]
    pub(crate) fn behind_message(&self, stderr: bool, stamp: &Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tail);
        out.extend_from_slice(if stderr { b"stderr" } else { b"stdout" });
        out.extend_from_slice(b"\",\"timestamp\":\"");
        stamp.iso(6, b"Z\"}", out);
    }
}

fn concat(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
