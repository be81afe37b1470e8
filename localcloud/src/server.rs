//! The HTTP side: one port for all services, told apart by what the signature was made for.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::service::S3Service;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Inner;
use crate::accounts::KeyError;
use crate::api::{Answer, ApiError, Call, Caller, Codes, unknown_operation};
use crate::clock::http_date;
use crate::faults::{Asks, Broken, Connection, Fate, Fault, FaultSlot, Wire, answered};
use crate::s3::gate;
use crate::sigv4::{self, SignatureError};
use crate::sqs;
use crate::sts;

/// Bytes of a request other than S3's: PutLogEvents at its most escaped is the longest.
const BODY_BYTES_MAX: usize = 16 << 20;

type Reply = Response<Either<Full<Bytes>, s3s::Body>>;

/// How long is waited after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until `stop`.
pub(crate) async fn serve(
    cloud: Arc<Inner>,
    s3: S3Service,
    listener: TcpListener,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((connection, _)) = accepted else {
            // Too many files are open, as a rule: one of them has to be closed first.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Answers are small and waited for.
        let _without_nodelay = connection.set_nodelay(true);
        tasks.spawn(connected(Arc::clone(&cloud), s3.clone(), connection, stop.clone()));
    }
}

/// Serves one connection to its end.
pub(crate) async fn connected(cloud: Arc<Inner>, s3: S3Service, connection: impl Connection, stop: CancellationToken) {
    let _open = cloud.connections.token();
    let fate = Fate::default();
    let wire = Wire::new(connection, fate.clone());
    let service = service_fn(move |request| {
        let (cloud, s3, fate) = (Arc::clone(&cloud), s3.clone(), fate.clone());
        async move { answer(&cloud, &s3, request, &fate).await }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(wire), service);
    // A client that goes away is no matter of ours, and an end that a fault made is meant.
    tokio::select! {
        biased;
        _ended = serving => {}
        () = stop.cancelled() => {}
    }
}

/// An answer, and what becomes of it on its way.
struct Answered {
    reply: Reply,
    fault: Option<Fault>,
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Self {
        Self { reply, fault: None }
    }
}

async fn answer(cloud: &Arc<Inner>, s3: &S3Service, request: Request<Incoming>, fate: &Fate) -> Result<Reply, Broken> {
    let method = request.method().clone();
    let authorization = sigv4::parse(request.headers());
    let id = cloud.request_id();
    let unsigned = if authorization.is_none() { meant_for(&request) } else { None };
    let (Answered { mut reply, fault }, header) = if let Some(service) = unsigned {
        let codes = Codes::of(service);
        let error = ApiError::new(codes.status, codes.missing, "Missing Authentication Token");
        (refusal(service, &error, &id).into(), "x-amzn-requestid")
    } else if let Some(authorization) = authorization.filter(|it| it.service != "s3") {
        (answer_signed(cloud, request, &authorization, &id).await, "x-amzn-requestid")
    } else {
        // Pre-signed URLs and other calls without the header are S3's, which refuses what it must.
        (answer_s3(cloud, s3, request).await, "x-amz-request-id")
    };
    if let Ok(id) = id.parse() {
        reply.headers_mut().insert(header, id);
    }
    // Clients put their clocks right by it, so it is the one that their signatures are judged by.
    if let Ok(date) = http_date(cloud.clock.wall_ms()).parse() {
        reply.headers_mut().insert("date", date);
    }
    match fault {
        Some(fault) => answered(cloud, fault, &method, reply, fate).await,
        None => Ok(reply),
    }
}

async fn answer_s3(cloud: &Inner, s3: &S3Service, request: Request<Incoming>) -> Answered {
    let (mut parts, body) = request.into_parts();
    // The call's fault is chosen where its caller and its operation are known.
    let slot = cloud.faults.is_on().then(FaultSlot::default);
    if let Some(slot) = &slot {
        parts.extensions.insert(slot.clone());
    }
    let answer = match gate::check(&parts, &cloud.region) {
        Ok(token) => {
            parts.extensions.insert(token);
            let request = Request::from_parts(parts, s3s::Body::from(body));
            s3.call(request).await.ok()
        }
        Err(refusal) => refusal.to_http_response().ok(),
    };
    let reply = match answer {
        Some(response) => response.map(Either::Right),
        None => text(500, "application/xml", String::new()),
    };
    Answered { reply, fault: slot.and_then(|slot| slot.take()) }
}

/// The service that a call without a signature is meant for, if it is not S3.
fn meant_for(request: &Request<Incoming>) -> Option<&'static str> {
    // All of S3's calls with a body name a bucket.
    if request.method() != Method::POST || request.uri().path() != "/" {
        return None;
    }
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = header("x-amz-target").split('.').next().unwrap_or_default();
    let form = header("content-type").starts_with("application/x-www-form-urlencoded");
    SERVICES.into_iter().find(|service| prefix(service) == Some(target)).or_else(|| form.then_some("sts"))
}

/// The services of awsJson, and how the operations' names begin.
const SERVICES: [&str; 3] = ["sqs", "dynamodb", "logs"];

fn prefix(service: &str) -> Option<&'static str> {
    match service {
        "sqs" => Some("AmazonSQS"),
        "dynamodb" => Some("DynamoDB_20120810"),
        "logs" => Some("Logs_20140328"),
        _ => None,
    }
}

async fn answer_signed(
    cloud: &Arc<Inner>,
    request: Request<Incoming>,
    authorization: &sigv4::Authorization,
    id: &str,
) -> Answered {
    let (parts, body) = request.into_parts();
    let service = authorization.service.as_str();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return refusal(service, &ApiError::new(413, "RequestEntityTooLarge", "the request is too large"), id).into();
    };
    let body = body.to_bytes();
    let caller = match who(cloud, &parts, &body, authorization) {
        Ok(caller) => caller,
        Err(error) => return refusal(service, &error, id).into(),
    };
    let header = |name| parts.headers.get(name).and_then(|it: &HeaderValue| it.to_str().ok()).unwrap_or_default();
    let form = (service == "sts").then(|| sts::Form::read(&body));
    let operation = match &form {
        Some(form) => form.action(),
        None => match header("x-amz-target").split_once('.').unwrap_or_default() {
            (target, operation) if prefix(service) == Some(target) => operation,
            (_, operation) => return refusal(service, &unknown_operation(operation), id).into(),
        },
    };
    cloud.arrive(service, operation, &caller.account, body.len()).await;
    let fault = cloud.faults.choose(service, operation, &caller, Asks::default());
    if let Some(error) = fault.as_ref().and_then(|fault| fault.refusal(service)) {
        return Answered { reply: refusal(service, &error, id), fault };
    }
    let done = match &form {
        Some(form) => sts::call(&cloud.accounts, &caller, cloud.clock.now_ms(), form, id),
        None => match decoded(service, header("content-encoding"), body) {
            Ok(body) => {
                let call = Call {
                    caller: &caller,
                    region: &authorization.region,
                    now_ms: cloud.clock.now_ms(),
                    operation,
                    body: &body,
                    accounts: &cloud.accounts,
                    fault: fault.as_ref(),
                };
                let answer: Answer = match service {
                    "sqs" => cloud.sqs.call(&call, header("host"), &cloud.clock).await,
                    "dynamodb" => cloud.dynamodb.call(&call),
                    _ => cloud.logs.call(&call),
                };
                answer.map(|value| value.to_string())
            }
            Err(error) => Err(error),
        },
    };
    let reply = match done {
        Ok(body) => text(200, content_type(service), body),
        Err(error) => refusal(service, &error, id),
    };
    Answered { reply, fault }
}

/// The body as it was before it was compressed, which CloudWatch Logs alone takes. The signature is over what came.
fn decoded(service: &str, encoding: &str, body: Bytes) -> Result<Bytes, ApiError> {
    let unread = |text: &str| ApiError::new(400, "SerializationException", text);
    match encoding {
        "" | "identity" => Ok(body),
        "gzip" if service == "logs" => {
            let (mut plain, most) = (Vec::new(), u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX));
            let read = GzDecoder::new(&*body).take(most + 1).read_to_end(&mut plain);
            read.map_err(|_| unread("the body is not gzip"))?;
            if plain.len() > BODY_BYTES_MAX {
                return Err(ApiError::new(413, "RequestEntityTooLarge", "the request is too large"));
            }
            Ok(plain.into())
        }
        _ => Err(unread("the content encoding is not known")),
    }
}

/// The caller that the signature proves.
fn who(cloud: &Inner, parts: &Parts, body: &[u8], authorization: &sigv4::Authorization) -> Result<Caller, ApiError> {
    let codes = Codes::of(&authorization.service);
    let unknown =
        || ApiError::new(codes.status, codes.unknown, "The security token included in the request is invalid.");
    let secret = cloud.accounts.secret(&authorization.access_key).ok_or_else(unknown)?;
    sigv4::verify(parts, body, authorization, &secret, cloud.clock.wall_ms()).map_err(|error| match error {
        SignatureError::Mismatch => {
            let text = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                Access Key and signing method.";
            ApiError::new(codes.status, codes.mismatch, text)
        }
        SignatureError::Skewed => ApiError::new(codes.status, codes.mismatch, "Signature expired or not yet current"),
    })?;
    let token = parts.headers.get("x-amz-security-token").and_then(|it| it.to_str().ok());
    cloud.accounts.caller(&authorization.access_key, token, cloud.clock.now_ms()).map_err(|error| match error {
        KeyError::Expired => {
            ApiError::new(codes.status, codes.expired, "The security token included in the request is expired")
        }
        KeyError::Token | KeyError::Unknown => unknown(),
    })
}

fn content_type(service: &str) -> &'static str {
    match service {
        "sts" => "text/xml",
        "logs" => "application/x-amz-json-1.1",
        _ => "application/x-amz-json-1.0",
    }
}

fn refusal(service: &str, error: &ApiError, id: &str) -> Reply {
    if service == "sts" {
        return text(error.status, "text/xml", sts::error(error, id));
    }
    let shape = if service == "sqs" { sqs::shape(error.code) } else { error.code.to_owned() };
    let body = json!({ "__type": shape, "message": error.message });
    let mut reply = text(error.status, content_type(service), body.to_string());
    if service == "sqs"
        && let Ok(value) = format!("{};{}", error.code, error.whose()).parse()
    {
        reply.headers_mut().insert("x-amzn-query-error", value);
    }
    reply
}

fn text(status: u16, content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *reply.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    reply
}
