//! The words of invented messages. Everything here is drawn once, at the start.

use fastrand::Rng;

use crate::formats::uuid;

/// Details that messages choose from. More would no longer stay in the first-level caches.
const DETAILS: usize = 1024;

pub(crate) const MODULES: [&str; 20] = [
    "auth.service",
    "payment.processor",
    "user.controller",
    "order.handler",
    "inventory.manager",
    "notification.sender",
    "config.loader",
    "cache.redis",
    "database.connection",
    "api.gateway",
    "security.validator",
    "metrics.collector",
    "scheduler.jobs",
    "file.uploader",
    "email.service",
    "search.engine",
    "analytics.tracker",
    "backup.manager",
    "health.checker",
    "logger.writer",
];

pub(crate) const OPERATIONS: [&str; 6] = ["started", "completed", "failed", "processing", "initialized", "terminated"];

pub(crate) const OPENINGS: [&str; 12] = [
    "Processing request",
    "Executing operation",
    "Handling transaction",
    "Validating input",
    "Connecting to service",
    "Loading configuration",
    "Updating records",
    "Sending notification",
    "Checking permissions",
    "Performing backup",
    "Analyzing data",
    "Generating report",
];

const NAMES: [&str; 24] = [
    "alice", "bob", "carol", "dmitri", "erin", "farid", "grace", "heidi", "ivan", "judy", "kofi", "lena", "mallory",
    "nadia", "olivia", "peggy", "quentin", "rupert", "sybil", "trent", "uma", "victor", "wendy", "yusuf",
];

const HOW: [&str; 12] = [
    "Balanced",
    "Centralized",
    "Devolved",
    "Expanded",
    "Face to face",
    "Grass-roots",
    "Innovative",
    "Multi-layered",
    "Optional",
    "Persevering",
    "Seamless",
    "Versatile",
];

const WHAT: [&str; 12] = [
    "asymmetric archive",
    "background throughput",
    "bandwidth-monitored queue",
    "client-driven cache",
    "discrete parallelism",
    "fault-tolerant matrix",
    "high-level knowledge base",
    "needs-based frame",
    "object-oriented forecast",
    "real-time circuit",
    "stateless orchestration",
    "zero-defect hub",
];

/// What has to be escaped, at least once.
const SPECIAL: [&str; 24] = [
    " err=\"open \\\"/etc/millrace/config.yaml\\\": no such file or directory\"",
    " path=\"C:\\Program Files\\Common\\agent.exe\"",
    " share=\\\\fileserver01\\exports\\nightly",
    " reason=\"MinimumReplicasUnavailable\" message=\"Deployment does not have minimum availability.\"",
    " query='SELECT \"id\", \"name\" FROM \"users\" WHERE \"name\" ~ E'^\\\\d+$''",
    " pattern=\"^(\\w+)\\s*=\\s*\\\"(.*)\\\"$\"",
    " body={\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-0\",\"labels\":{\"app\":\"web\"}}}",
    " response={\"error\":{\"code\":429,\"message\":\"rate limit: \\\"burst\\\" exceeded\"}}",
    " patch=[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":3}]",
    "\tstatus=200\tbytes=5120\tuser-agent=\"kube-probe/1.32\"",
    "\tcolumn one\tcolumn two\tcolumn three",
    " \u{1b}[33mwarning\u{1b}[0m: deprecated field \"spec.serviceAccount\"",
    " with prefix read-only – größe überschritten",
    " for user José Ångström-Müller",
    " in région «Île-de-France»",
    " für Straße „Äußere Weberstraße“",
    " で処理が完了しました",
    " 请求已成功处理",
    " запрос обработан успешно",
    " deploy finished 🚀 with ✅ 12 checks",
    " key=\"naïve café\" value=\"½ × µ ≤ ∞\"",
    " http://example.org/search?q=%22a%20b%22&lang=de#top",
    " <html><body class=\"error\">502 Bad Gateway</body></html>",
    " args=[\"--flag\",\"a\\tb\",\"c\\\\d\"]",
];

const VERBS: [&str; 6] = ["GET", "LIST", "PATCH", "POST", "PUT", "WATCH"];

const PATHS: [&str; 8] = [
    "/livez?exclude=etcd",
    "/readyz",
    "/api/v1/namespaces/default/pods?limit=500&resourceVersion=0",
    "/apis/apps/v1/namespaces/kube-system/deployments/coredns/status",
    "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/ip-10-0-1-9",
    "/api/v1/nodes/ip-10-0-1-9?fieldManager=kubelet",
    "/openapi/v3?timeout=32s",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
];

const FRAMES: [&str; 10] = [
    "com.example.orders.OrderService.place(OrderService.java:",
    "com.example.orders.OrderController.lambda$post$3(OrderController.java:",
    "com.example.db.Pool.<init>(Pool.java:",
    "com.example.db.Pool.checkout(Pool.java:",
    "java.base/java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:",
    "java.base/java.lang.Thread.run(Thread.java:",
    "org.springframework.web.servlet.FrameworkServlet.service(FrameworkServlet.java:",
    "io.netty.channel.AbstractChannelHandlerContext.invokeChannelRead(AbstractChannelHandlerContext.java:",
    "reactor.core.publisher.FluxMap$MapSubscriber.onNext(FluxMap.java:",
    "jdk.internal.reflect.GeneratedMethodAccessor42.invoke(Unknown Source:",
];

const CAUSES: [&str; 5] = [
    "java.lang.IllegalStateException: pool \"orders\" is exhausted (32 of 32 in use)",
    "java.net.SocketTimeoutException: Read timed out",
    "com.example.db.QueryException: syntax error at or near \"FROM\"",
    "java.lang.NullPointerException: Cannot invoke \"String.length()\" because \"<local1>\" is null",
    "javax.net.ssl.SSLHandshakeException: PKIX path building failed",
];

const WORDS: [&str; 48] = [
    "account", "after", "although", "answer", "before", "between", "bring", "certain", "check", "claim", "common",
    "control", "current", "decade", "detail", "early", "effect", "enough", "event", "family", "figure", "follow",
    "general", "happen", "however", "include", "indeed", "involve", "know", "large", "level", "measure", "nearly",
    "notice", "often", "option", "perhaps", "present", "question", "reach", "remain", "result", "simple", "since",
    "source", "together", "until", "whether",
];

/// A number between two texts.
fn with_number(before: &str, number: u32, behind: &str) -> String {
    format!("{before}{number}{behind}")
}

fn one<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.usize(..of.len())]
}

/// One detail: user, id, phrase, duration and count as likely as each other, and one in ten that needs escaping.
fn detail(rng: &mut Rng) -> String {
    match rng.u32(..50) {
        0..9 => with_number(&[" for user ", one(rng, &NAMES)].concat(), rng.u32(1..=99), ""),
        9..18 => {
            let mut text = Vec::new();
            uuid(rng, &mut text);
            [" with ID ", &String::from_utf8_lossy(&text)].concat()
        }
        18..27 => [" - ", one(rng, &HOW), " ", one(rng, &WHAT)].concat(),
        27..36 => with_number(" taking ", rng.u32(1..=5000), "ms"),
        36..45 => with_number(" containing ", rng.u32(1..=1000), " items"),
        _ => one(rng, &SPECIAL).to_owned(),
    }
}

pub(crate) fn details(rng: &mut Rng) -> Vec<String> {
    (0..DETAILS).map(|_| detail(rng)).collect()
}

/// Openings of klog's structured lines.
pub(crate) fn requests(rng: &mut Rng) -> Vec<String> {
    let request = |rng: &mut Rng| {
        let latency = with_number(" latency=\"", rng.u32(1..=900), ".");
        let digits = with_number("", rng.u32(1..=999), "ms\"");
        let code = one(rng, &["200", "200", "200", "201", "404", "409"]);
        let verb = one(rng, &VERBS);
        ["\"HTTP\" verb=\"", verb, "\" URI=\"", one(rng, &PATHS), "\"", &latency, &digits, " resp=", code].concat()
    };
    (0..128).map(|_| request(rng)).collect()
}

/// Stack traces, each beginning with its line break.
pub(crate) fn traces(rng: &mut Rng) -> Vec<String> {
    let trace = |rng: &mut Rng| {
        let mut text = ["\n", one(rng, &CAUSES)].concat();
        for _ in 0..rng.u32(3..=12) {
            let frame = ["\n\tat ", one(rng, &FRAMES)].concat();
            text.push_str(&with_number(&frame, rng.u32(10..=990), ")"));
        }
        text.push_str(&with_number("\n\t... ", rng.u32(2..=40), " more"));
        text
    };
    (0..32).map(|_| trace(rng)).collect()
}

/// Eight KiB of plain words and more.
pub(crate) fn filler(rng: &mut Rng) -> Vec<u8> {
    let mut text = Vec::new();
    while text.len() < 8192 {
        text.extend_from_slice(one(rng, &WORDS).as_bytes());
        text.push(b' ');
    }
    text
}
