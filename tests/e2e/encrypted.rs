//! The daemon by HTTPS: whom it trusts, and what it sends.

#![expect(clippy::disallowed_methods, reason = "what stands in front of the cloud is none of the daemon's")]

use std::io::Write as _;
use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::NamedTempFile;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::stage::Stage;

/// The end of encryption in front of a cloud.
struct Front {
    endpoint: String,
    /// Its certificate, which nobody else has signed.
    certificate: NamedTempFile,
}

impl Front {
    async fn start(stage: &Stage) -> Self {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut certificate = NamedTempFile::new().unwrap();
        certificate.write_all(cert.pem().as_bytes()).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cloud = stage.cloud.endpoint().trim_start_matches("http://").to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (tls, cloud) = (tls.clone(), cloud.clone());
                tokio::spawn(async move {
                    // Whoever does not trust the certificate goes away.
                    let Ok(mut client) = tls.accept(client).await else { return };
                    let mut server = TcpStream::connect(&cloud).await.unwrap();
                    let _either_has_closed = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { endpoint: format!("https://localhost:{port}"), certificate }
    }
}

/// A certificate counts that the file says which the environment names; and by HTTPS batches are compressed.
#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_by_https_compressed() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let messages: Vec<String> = (0..3_000).map(|at| format!("line {at}: as most of the others are")).collect();
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &messages);
    let front = Front::start(&stage).await;
    let trusted = front.certificate.path().to_str().unwrap();
    let settings = [("AWS_ENDPOINT_URL", front.endpoint.as_str()), ("SSL_CERT_FILE", trusted)];
    let (code, out, err) = stage.manual(&Stage::notification(&["acme/c1/api/pod-0/1.json.gz"]), &settings).await;
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(stage.messages(&acme, "pod-0"), messages);
    let sent = stage.cloud.received_bytes("PutLogEvents");
    assert!(sent < 60_000, "{sent} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_to_whom_nobody_trusts() {
    let mut stage = Stage::new().await;
    stage.tenant("acme", |_| {});
    let (front, other) = (Front::start(&stage).await, Front::start(&stage).await);
    let trusted = other.certificate.path().to_str().unwrap();
    let settings = [("AWS_ENDPOINT_URL", front.endpoint.as_str()), ("SSL_CERT_FILE", trusted)];
    let (code, out, err) = stage.manual(&Stage::notification(&["acme/c1/api/pod-0/1.json.gz"]), &settings).await;
    assert_eq!(code, 1, "{out}{err}");
    assert!(format!("{out}{err}").contains("certificate"), "{out}{err}");
    assert_eq!(stage.cloud.calls().values().sum::<u64>(), 0);
}
