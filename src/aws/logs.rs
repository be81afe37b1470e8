//! A tenant's log group.

use std::sync::Arc;

use aws_config::Region;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::IdentityCache;
use aws_sdk_cloudwatchlogs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_cloudwatchlogs::types::LogGroupClass;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use serde::Deserialize;

use super::sts::Session;
use super::wire::{Request, Wire};
use super::{Aws, address, answer};
use crate::core::batch::RejectRanges;
use crate::core::failure::{Failure, Service};
use crate::core::tenant::{CloudWatchTarget, GroupClass};

/// The log group of one delivery, with that delivery's credentials. Made from both together, it takes no tenant later.
#[derive(Clone, Debug)]
pub struct LogGroup {
    client: Client,
    puts: Arc<Puts>,
    target: CloudWatchTarget,
}

/// How batches are sent.
#[derive(Debug)]
struct Puts {
    wire: Wire,
    identity: Identity,
    /// Where to; or why that is not known.
    uri: Result<String, String>,
}

/// A finished request body. A request takes it in place of its own, and its hash is not computed again.
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// As it is sent.
    pub bytes: Bytes,
    /// Of these bytes.
    pub sha256: [u8; 32],
    /// Whether they are gzip.
    pub packed: bool,
}

/// The members of the answer to PutLogEvents. Source: CloudWatch Logs API Reference, "PutLogEvents".
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    rejected_log_events_info: Option<Rejected>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rejected {
    too_new_log_event_start_index: Option<i32>,
    too_old_log_event_end_index: Option<i32>,
    expired_log_event_end_index: Option<i32>,
}

/// What PutLogEvents answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The events that were not kept.
    pub rejected: RejectRanges,
    /// AWS's name for the call.
    pub request_id: Option<String>,
}

impl LogGroup {
    /// Binds a delivery's target to its session.
    #[must_use]
    pub fn new(aws: &Aws, target: &CloudWatchTarget, session: &Session) -> Self {
        let region = target.region.as_deref().unwrap_or_else(|| aws.region());
        let mut config = aws_sdk_cloudwatchlogs::config::Builder::from(&aws.base)
            .region(Region::new(region.to_owned()))
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(session.credentials.clone());
        config.set_endpoint_url(aws.endpoint(Service::Logs));
        let puts = Puts {
            wire: Wire::new(aws, Service::Logs, region),
            identity: session.credentials.clone().into(),
            uri: uri(aws, region),
        };
        Self { client: Client::from_conf(config.build()), puts: Arc::new(puts), target: target.clone() }
    }

    /// Sends a finished request body as it is: the SDK's serialisation of 10,000 events would cost several times the
    /// signature.
    ///
    /// # Errors
    /// The call's failure. After a timeout or a broken connection the events may have been accepted.
    pub async fn put(&self, body: RequestBody) -> Result<Accepted, Failure> {
        let Puts { wire, identity, uri } = &*self.puts;
        let RequestBody { bytes, sha256, packed } = body;
        let uri = uri.as_ref().map_err(|text| wire.odd("PutLogEvents", text))?;
        let protocol = ("Logs_20140328.PutLogEvents", "application/x-amz-json-1.1");
        let mut request = Request::json("PutLogEvents", uri.clone(), protocol, bytes, sha256);
        if packed {
            request.headers.push(("content-encoding", "gzip".into()));
        }
        let (answer, request_id) = wire.exchange::<Answer>(request, identity).await?;
        let rejected = answer.rejected_log_events_info.map_or_else(RejectRanges::default, |info| RejectRanges {
            too_old_end: info.too_old_log_event_end_index,
            expired_end: info.expired_log_event_end_index,
            too_new_start: info.too_new_log_event_start_index,
        });
        Ok(Accepted { rejected, request_id })
    }

    /// Creates a stream.
    ///
    /// # Errors
    /// The call's failure, also when it exists or its group does not.
    pub async fn create_stream(&self, stream: &str) -> Result<(), Failure> {
        let call = self.client.create_log_stream().log_group_name(&*self.target.log_group).log_stream_name(stream);
        answer(Service::Logs, "CreateLogStream", call.send().await).map(|_| ())
    }

    /// Creates the group with the class, tags and key that the tenant's row asks for.
    ///
    /// # Errors
    /// The call's failure, also when it exists.
    pub async fn create_group(&self) -> Result<(), Failure> {
        let wanted = &self.target.group;
        let mut call = self.client.create_log_group().log_group_name(&*self.target.log_group);
        // The default class is not named: not every region and partition knows classes.
        if wanted.class == GroupClass::InfrequentAccess {
            call = call.log_group_class(LogGroupClass::InfrequentAccess);
        }
        call = call.set_kms_key_id(wanted.kms_key_arn.as_ref().map(ToString::to_string));
        for (key, value) in &wanted.tags {
            call = call.tags(Arc::clone(key).to_string(), Arc::clone(value).to_string());
        }
        answer(Service::Logs, "CreateLogGroup", call.send().await).map(|_| ())
    }

    /// Sets how long a new group keeps events, if the tenant's row asks for it.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn put_retention(&self) -> Result<(), Failure> {
        let Some(days) = self.target.group.retention_days else { return Ok(()) };
        let call = self.client.put_retention_policy().log_group_name(&*self.target.log_group).retention_in_days(days);
        answer(Service::Logs, "PutRetentionPolicy", call.send().await).map(|_| ())
    }
}

/// Where batches are sent in a region.
fn uri(aws: &Aws, region: &str) -> Result<String, String> {
    let params = Params::builder()
        .region(region)
        .set_use_fips(Some(aws.base.use_fips().unwrap_or(false)))
        .set_use_dual_stack(Some(aws.base.use_dual_stack().unwrap_or(false)))
        .set_endpoint(aws.endpoint_beside_clients(Service::Logs))
        .build()
        .map_err(|error| error.to_string())?;
    Ok(address(DefaultResolver::new().resolve_endpoint(&params))? + "/")
}
