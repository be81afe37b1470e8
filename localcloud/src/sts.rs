//! STS: awsQuery, a form in and XML out.

use percent_encoding::percent_decode_str;

use crate::accounts::{Accounts, Assumption};
use crate::api::{ApiError, Caller};
use crate::clock::iso;
use crate::tags::TagKey;

/// A call's form, read.
#[derive(Debug)]
pub(crate) struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    pub(crate) fn read(form: &[u8]) -> Self {
        Self { fields: fields(form) }
    }

    /// What is to be done; empty when the form does not say.
    pub(crate) fn action(&self) -> &str {
        self.fields.iter().find(|(key, _)| key == "Action").map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// Answers a call; the body is XML.
pub(crate) fn call(
    accounts: &Accounts,
    caller: &Caller,
    now_ms: i64,
    form: &Form,
    request_id: &str,
) -> Result<String, ApiError> {
    let action = form.action();
    let answer = match action {
        "AssumeRole" => assume(accounts, caller, now_ms, &form.fields),
        "GetCallerIdentity" => Ok(format!(
            "<GetCallerIdentityResult><Arn>{arn}</Arn><UserId>{id}:{name}</UserId><Account>{account}</Account></GetCallerIdentityResult>",
            arn = escape(&caller.arn),
            id = if caller.role.is_some() { "AROALOCAL" } else { "AIDALOCAL" },
            name = escape(caller.arn.rsplit('/').next().unwrap_or_default()),
            account = caller.account
        )),
        _ => Err(ApiError::new(400, "InvalidAction", format!("operation {action} does not exist here"))),
    };
    answer.map(|result| {
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{result}<ResponseMetadata>\
             <RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
        )
    })
}

/// The body of an error.
pub(crate) fn error(error: &ApiError, request_id: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>{}</Type><Code>{}</Code>\
         <Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
        error.whose(),
        error.code,
        escape(&error.message)
    )
}

fn assume(accounts: &Accounts, caller: &Caller, now_ms: i64, fields: &[(String, String)]) -> Result<String, ApiError> {
    let mut asked = Assumption::default();
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for (key, value) in fields {
        let value = value.clone();
        match key.as_str() {
            "RoleArn" => asked.role_arn = value,
            "RoleSessionName" => asked.session_name = value,
            "ExternalId" => asked.external_id = Some(value),
            "DurationSeconds" => {
                let seconds = value.parse().map_err(|_| ApiError::new(400, "MalformedInput", "Invalid Argument"))?;
                asked.seconds = Some(seconds);
            }
            key if key.starts_with("TransitiveTagKeys.member.") => {
                asked.transitive.insert(TagKey::from(value.as_str()));
            }
            key if key.starts_with("Tags.member.") && key.ends_with(".Key") => keys.push((member(key), value)),
            key if key.starts_with("Tags.member.") && key.ends_with(".Value") => values.push((member(key), value)),
            "Action" | "Version" => {}
            // Empty lists.
            "Tags" | "TransitiveTagKeys" if value.is_empty() => {}
            // A policy that is passed over would give more than was asked for.
            _ => return Err(ApiError::new(400, "ValidationError", format!("{key} is not served here"))),
        }
    }
    for (number, key) in keys {
        let value = values.iter().find(|(of, _)| *of == number).map(|(_, value)| value.clone()).unwrap_or_default();
        if asked.tags.insert(TagKey::from(key.as_str()), value).is_some() {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(ApiError::new(400, "InvalidParameterValue", text));
        }
    }
    let new = accounts.assume(caller, &asked, now_ms)?;
    Ok(format!(
        "<AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROALOCAL:{name}</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>{expires}</Expiration></Credentials></AssumeRoleResult>",
        name = escape(&asked.session_name),
        arn = escape(&new.arn),
        id = new.key.id,
        secret = new.key.secret,
        token = new.key.token.unwrap_or_default(),
        expires = iso(new.expires_ms),
    ))
}

fn member(key: &str) -> String {
    key.split('.').nth(2).unwrap_or_default().to_owned()
}

fn fields(form: &[u8]) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    String::from_utf8_lossy(form)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
