//! What TLS costs the daemon's side of a connection: both ends in memory, by the provider that the daemon has.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::clock::{median_of, seconds_of};

/// Bytes that are written at once, and how often for each way.
const PIECE_BYTES: usize = 16 << 10;
const PIECES: usize = 2_048;
const ROUNDS: usize = 5;

/// Milliseconds of the processor for a MiB through the client's end, the median of ways and rounds.
pub(crate) fn ms_per_mib() -> f64 {
    let (mut client, mut server) = ends();
    while client.is_handshaking() || server.is_handshaking() {
        pass(&mut client, &mut server);
        pass(&mut server, &mut client);
    }
    let (piece, mut wire, mut plain) = (vec![b'x'; PIECE_BYTES], Vec::new(), vec![0; PIECE_BYTES]);
    let mib = (PIECE_BYTES * PIECES) as f64 / f64::from(1 << 20);
    let rounds = (0..ROUNDS).map(|_| {
        let mut seconds = 0.0;
        for _ in 0..PIECES {
            // Sent: only the client's end is timed.
            wire.clear();
            seconds += seconds_of(|| {
                client.writer().write_all(&piece).unwrap();
                while client.wants_write() {
                    client.write_tls(&mut wire).unwrap();
                }
            });
            take(&mut server, &wire, &mut plain);
            // Got.
            wire.clear();
            server.writer().write_all(&piece).unwrap();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            seconds += seconds_of(|| take(&mut client, &wire, &mut plain));
        }
        seconds / (2.0 * mib) * 1e3
    });
    median_of(rounds.collect())
}

fn ends() -> (rustls::Connection, rustls::Connection) {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let server = server.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key.into()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    (
        ClientConnection::new(Arc::new(client), name).unwrap().into(),
        ServerConnection::new(Arc::new(server)).unwrap().into(),
    )
}

/// Hands on what one end has to say to the other.
fn pass(from: &mut rustls::Connection, to: &mut rustls::Connection) {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut rest = &wire[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets().unwrap();
    }
}

/// Takes what came, and reads all of it.
fn take(end: &mut rustls::Connection, wire: &[u8], plain: &mut [u8]) {
    let (mut rest, mut read) = (wire, 0);
    while read < PIECE_BYTES {
        if !rest.is_empty() {
            end.read_tls(&mut rest).unwrap();
            end.process_new_packets().unwrap();
        }
        while let Ok(more @ 1..) = end.reader().read(plain) {
            read += more;
        }
    }
}
