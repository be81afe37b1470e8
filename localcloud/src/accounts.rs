//! Accounts: users and their keys, roles and who may assume them, sessions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::api::{ApiError, Caller, hex, lock};
use crate::tags::TagKey;

/// Longest session of a role that was assumed by a role, and the default of `MaxSessionDuration`, which all roles here
/// have. Source: STS API Reference, "AssumeRole".
const SESSION_SECONDS_MAX: i64 = 3600;
/// Bounds of a session's length. Source: as above.
const SECONDS: std::ops::RangeInclusive<i64> = 900..=43_200;

/// A user's key.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: String,
    /// The token that goes with a session's key.
    pub token: Option<String>,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Who may assume a role: all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustPolicy {
    /// ARNs of roles and users, or account ids, which may also be written `arn:aws:iam::ACCOUNT:root`.
    pub principals: Vec<String>,
    /// `sts:ExternalId`.
    pub external_id: Option<String>,
    /// `aws:RequestTag/…`: tags that the call must pass.
    pub request_tags: Vec<String>,
    /// `aws:PrincipalTag/…`: tags that the calling session must have, with these values.
    pub principal_tags: BTreeMap<String, String>,
    /// Whether `sts:TagSession` is allowed too; without it no tag may arrive, inherited ones included.
    pub tag_session: bool,
}

/// What a role's sessions may do: `(action, resource)`; in both `*` stands for any text.
pub type Permissions = Vec<(String, String)>;

#[derive(Clone, Debug)]
struct Role {
    account: String,
    trust: TrustPolicy,
    permissions: Permissions,
}

#[derive(Clone)]
struct Key {
    secret: String,
    token: Option<String>,
    expires_ms: Option<i64>,
    caller: Caller,
}

#[derive(Default)]
struct State {
    keys: HashMap<String, Key>,
    roles: HashMap<String, Role>,
    made: u64,
}

/// All accounts of the cloud.
#[derive(Default)]
pub(crate) struct Accounts {
    state: Mutex<State>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("roles", &lock(&self.state).roles.len()).finish_non_exhaustive()
    }
}

/// Why credentials are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyError {
    Unknown,
    Token,
    Expired,
}

/// What AssumeRole was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assumption {
    pub(crate) role_arn: String,
    pub(crate) session_name: String,
    pub(crate) external_id: Option<String>,
    pub(crate) seconds: Option<i64>,
    pub(crate) tags: BTreeMap<TagKey, String>,
    pub(crate) transitive: BTreeSet<TagKey>,
}

/// A new session.
#[derive(Debug)]
pub(crate) struct NewSession {
    pub(crate) key: AccessKey,
    pub(crate) expires_ms: i64,
    pub(crate) arn: String,
}

impl State {
    /// Text that nobody guesses by accident; this cloud keeps no secrets from its own machine.
    fn text(&mut self, what: &str, len: usize) -> String {
        self.made += 1;
        let digest = Sha256::digest(format!("localcloud {what} {} {:p}", self.made, self));
        hex(&digest).to_ascii_uppercase().chars().take(len).collect()
    }
}

impl Accounts {
    /// Adds a user, with a key of their own choice or a made one.
    pub(crate) fn add_user(&self, account: &str, name: &str, key: Option<AccessKey>) -> AccessKey {
        let mut state = lock(&self.state);
        let AccessKey { id, secret, .. } = key.unwrap_or_else(|| AccessKey {
            id: format!("AKIA{}", state.text("id", 16)),
            secret: state.text("secret", 40),
            token: None,
        });
        let caller = Caller {
            account: account.to_owned(),
            arn: format!("arn:aws:iam::{account}:user/{name}"),
            role: None,
            tags: BTreeMap::new(),
            transitive: BTreeSet::new(),
        };
        state.keys.insert(id.clone(), Key { secret: secret.clone(), token: None, expires_ms: None, caller });
        AccessKey { id, secret, token: None }
    }

    pub(crate) fn add_role(&self, account: &str, name: &str, trust: TrustPolicy, permissions: Permissions) -> String {
        let arn = format!("arn:aws:iam::{account}:role/{name}");
        let role = Role { account: account.to_owned(), trust, permissions };
        lock(&self.state).roles.insert(arn.clone(), role);
        arn
    }

    pub(crate) fn secret(&self, id: &str) -> Option<String> {
        lock(&self.state).keys.get(id).map(|key| key.secret.clone())
    }

    /// The caller behind a key, once its signature was checked.
    pub(crate) fn caller(&self, id: &str, token: Option<&str>, now_ms: i64) -> Result<Caller, KeyError> {
        let state = lock(&self.state);
        let key = state.keys.get(id).ok_or(KeyError::Unknown)?;
        if key.token.as_deref() != token {
            return Err(KeyError::Token);
        }
        if key.expires_ms.is_some_and(|expires| now_ms >= expires) {
            return Err(KeyError::Expired);
        }
        Ok(key.caller.clone())
    }

    /// Whether the caller's own policies allow an action. Users may do all in their account.
    pub(crate) fn allows(&self, caller: &Caller, action: &str, resource: &str) -> bool {
        let Some(role) = &caller.role else { return true };
        let state = lock(&self.state);
        let Some(role) = state.roles.get(role) else { return false };
        role.permissions.iter().any(|(actions, resources)| {
            matches(&actions.to_ascii_lowercase(), &action.to_ascii_lowercase()) && matches(resources, resource)
        })
    }

    pub(crate) fn assume(&self, caller: &Caller, asked: &Assumption, now_ms: i64) -> Result<NewSession, ApiError> {
        let refused = |action: &str| {
            let text =
                format!("User: {} is not authorized to perform: {action} on resource: {}", caller.arn, asked.role_arn);
            ApiError::new(403, "AccessDenied", text)
        };
        let denied = || refused("sts:AssumeRole");
        check_names(asked)?;
        let seconds = asked.seconds.unwrap_or(SESSION_SECONDS_MAX);
        if !SECONDS.contains(&seconds) {
            return Err(ApiError::new(400, "ValidationError", "DurationSeconds must be 900 to 43200"));
        }
        if caller.role.is_some() && seconds > SESSION_SECONDS_MAX {
            let text =
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
            return Err(ApiError::new(400, "ValidationError", text));
        }
        if !self.allows(caller, "sts:AssumeRole", &asked.role_arn) {
            return Err(denied());
        }
        let inherited = caller.tags.iter().filter(|(key, _)| caller.transitive.contains(*key));
        let inherited: BTreeMap<TagKey, String> = inherited.map(|(key, value)| (key.clone(), value.clone())).collect();
        if asked.tags.keys().any(|key| inherited.contains_key(key)) {
            let text = "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag \
                key from the calling session";
            return Err(ApiError::new(400, "InvalidParameterValue", text));
        }
        // Passing tags is an action of its own, on both sides.
        let tagged = !asked.tags.is_empty() || !inherited.is_empty();
        if tagged && !self.allows(caller, "sts:TagSession", &asked.role_arn) {
            return Err(refused("sts:TagSession"));
        }
        let mut state = lock(&self.state);
        let role = state.roles.get(&asked.role_arn).ok_or_else(denied)?;
        let trust = &role.trust;
        let holds = trust.principals.iter().any(|it| names(it, caller))
            && trust.external_id.as_ref().is_none_or(|id| asked.external_id.as_ref() == Some(id))
            && trust.request_tags.iter().all(|key| asked.tags.contains_key(&TagKey::from(key.as_str())))
            && caller.has_tags(&trust.principal_tags)
            && (trust.tag_session || !tagged);
        if !holds {
            return Err(denied());
        }
        if seconds > SESSION_SECONDS_MAX {
            let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
            return Err(ApiError::new(400, "ValidationError", text));
        }
        let account = role.account.clone();
        let name = asked.role_arn.rsplit('/').next().unwrap_or_default();
        let arn = format!("arn:aws:sts::{account}:assumed-role/{name}/{}", asked.session_name);
        let transitive = inherited.keys().chain(&asked.transitive).cloned().collect();
        let mut tags = inherited;
        tags.extend(asked.tags.clone());
        let session = Caller { account, arn: arn.clone(), role: Some(asked.role_arn.clone()), tags, transitive };
        let expires_ms = now_ms + seconds * 1000;
        let (id, secret, token) =
            (format!("ASIA{}", state.text("id", 16)), state.text("secret", 40), state.text("token", 64));
        let key =
            Key { secret: secret.clone(), token: Some(token.clone()), expires_ms: Some(expires_ms), caller: session };
        state.keys.retain(|_, key| key.expires_ms.is_none_or(|expires| expires + 86_400_000 > now_ms));
        state.keys.insert(id.clone(), key);
        Ok(NewSession { key: AccessKey { id, secret, token: Some(token) }, expires_ms, arn })
    }
}

/// Alphabets and lengths. Source: STS API Reference, "AssumeRole" and "Tag".
fn check_names(asked: &Assumption) -> Result<(), ApiError> {
    let invalid = |text: &str| Err(ApiError::new(400, "ValidationError", text));
    if !(20..=2048).contains(&asked.role_arn.len()) || !asked.role_arn.starts_with("arn:") {
        return invalid("roleArn must be an ARN of 20 to 2048 characters");
    }
    let name = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if !(2..=64).contains(&asked.session_name.len()) || !asked.session_name.chars().all(name) {
        return invalid("roleSessionName must have 2 to 64 characters of [\\w+=,.@-]");
    }
    let id = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if asked.external_id.as_ref().is_some_and(|it| !(2..=1224).contains(&it.len()) || !it.chars().all(id)) {
        return invalid("externalId must have 2 to 1224 characters of [\\w+=,.@:/-]");
    }
    let tag = |c: char| c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c);
    let sound = |text: &str, most: usize| text.chars().count() <= most && text.chars().all(tag);
    if asked.tags.len() > 50
        || !asked
            .tags
            .iter()
            .all(|(key, value)| !key.as_str().is_empty() && sound(key.as_str(), 128) && sound(value, 256))
    {
        return invalid("tags must be at most 50, with keys of 1 to 128 and values of at most 256 allowed characters");
    }
    if !asked.transitive.iter().all(|key| asked.tags.contains_key(key)) {
        return invalid("a transitive tag key must be among the tags");
    }
    Ok(())
}

/// Whether a policy's principal is the caller, its role or its account.
pub(crate) fn names(principal: &str, caller: &Caller) -> bool {
    let root = principal.strip_prefix("arn:aws:iam::").and_then(|it| it.strip_suffix(":root"));
    Some(principal) == caller.role.as_deref() || principal == caller.arn || root.unwrap_or(principal) == caller.account
}

/// Whether a text is as a pattern says, in which `*` stands for any text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|start| text.strip_prefix(start)) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(end) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        // The first place is the best: it leaves most for the pieces behind.
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTRAL: &str = "111111111111";
    const TENANT: &str = "222222222222";

    fn all() -> Permissions {
        vec![("*".to_owned(), "*".to_owned())]
    }

    struct World {
        accounts: Accounts,
        user: Caller,
        central: String,
        tenant: String,
    }

    fn world() -> World {
        let accounts = Accounts::default();
        let key = accounts.add_user(CENTRAL, "daemon", None);
        let user = accounts.caller(&key.id, None, 0).unwrap();
        let trust = TrustPolicy {
            principals: vec![CENTRAL.to_owned()],
            request_tags: vec!["tenant_id".to_owned()],
            tag_session: true,
            ..TrustPolicy::default()
        };
        let central = accounts.add_role(CENTRAL, "central", trust, all());
        let trust = TrustPolicy {
            principals: vec![central.clone()],
            external_id: Some(CENTRAL.to_owned()),
            principal_tags: [("tenant_id".to_owned(), "acme".to_owned())].into(),
            tag_session: true,
            ..TrustPolicy::default()
        };
        let tenant = accounts.add_role(TENANT, "delivery", trust, all());
        World { accounts, user, central, tenant }
    }

    fn asked(role_arn: &str, tags: &[(&str, &str)]) -> Assumption {
        Assumption {
            role_arn: role_arn.to_owned(),
            session_name: "millrace".to_owned(),
            tags: tags.iter().map(|(key, value)| (TagKey::from(*key), (*value).to_owned())).collect(),
            transitive: tags.iter().map(|(key, _)| TagKey::from(*key)).collect(),
            ..Assumption::default()
        }
    }

    fn session(world: &World, tenant: &str) -> Caller {
        let new = world.accounts.assume(&world.user, &asked(&world.central, &[("tenant_id", tenant)]), 0).unwrap();
        world.accounts.caller(&new.key.id, new.key.token.as_deref(), 1).unwrap()
    }

    fn second(
        world: &World,
        caller: &Caller,
        change: impl FnOnce(&mut Assumption),
    ) -> Result<NewSession, &'static str> {
        let mut second = asked(&world.tenant, &[]);
        second.external_id = Some(CENTRAL.to_owned());
        change(&mut second);
        world.accounts.assume(caller, &second, 0).map_err(|error| error.code)
    }

    #[test]
    fn the_tagged_double_hop_works_and_each_condition_counts() {
        let world = world();
        let acme = session(&world, "acme");
        let new = second(&world, &acme, |_| {}).unwrap();
        let caller = world.accounts.caller(&new.key.id, new.key.token.as_deref(), 1).unwrap();
        assert_eq!((caller.account.as_str(), caller.tags[&TagKey::from("tenant_id")].as_str()), (TENANT, "acme"));
        assert_eq!(second(&world, &acme, |it| it.external_id = None).unwrap_err(), "AccessDenied");
        assert_eq!(second(&world, &acme, |it| it.role_arn.push('x')).unwrap_err(), "AccessDenied");
        assert_eq!(second(&world, &acme, |it| it.seconds = Some(3601)).unwrap_err(), "ValidationError");
        assert_eq!(second(&world, &acme, |it| it.session_name = "a b".to_owned()).unwrap_err(), "ValidationError");
        assert_eq!(second(&world, &session(&world, "other"), |_| {}).unwrap_err(), "AccessDenied");
        assert_eq!(second(&world, &world.user, |_| {}).unwrap_err(), "AccessDenied");
    }

    #[test]
    fn an_inherited_transitive_tag_may_not_be_passed_again() {
        let world = world();
        let again = second(&world, &session(&world, "acme"), |it| {
            it.tags.insert("Tenant_ID".into(), "other".to_owned());
        });
        assert_eq!(again.unwrap_err(), "InvalidParameterValue");
    }

    #[test]
    fn tags_need_tag_session_and_the_first_hop_needs_its_tag() {
        let world = world();
        let trust = TrustPolicy { principals: vec![world.central.clone()], ..TrustPolicy::default() };
        let only = vec![("sts:AssumeRole".to_owned(), "*".to_owned())];
        let first = TrustPolicy { principals: vec![CENTRAL.to_owned()], tag_session: true, ..TrustPolicy::default() };
        let untagging = world.accounts.add_role(CENTRAL, "untagging", first, only);
        let new = world.accounts.assume(&world.user, &asked(&untagging, &[("tenant_id", "acme")]), 0).unwrap();
        let caller = world.accounts.caller(&new.key.id, new.key.token.as_deref(), 1).unwrap();
        let refusal = world.accounts.assume(&caller, &asked(&world.tenant, &[]), 0).unwrap_err();
        assert!(refusal.message.contains("sts:TagSession"), "{}", refusal.message);
        let untagged = world.accounts.add_role(TENANT, "untagged", trust, all());
        assert_eq!(second(&world, &session(&world, "acme"), |it| it.role_arn = untagged).unwrap_err(), "AccessDenied");
        let bare = world.accounts.assume(&world.user, &asked(&world.central, &[]), 0);
        assert_eq!(bare.unwrap_err().code, "AccessDenied");
    }

    #[test]
    fn sessions_lapse_and_need_their_token() {
        let world = world();
        let new = second(&world, &session(&world, "acme"), |_| {}).unwrap();
        let caller = |token, now| world.accounts.caller(&new.key.id, token, now).map(|_| ());
        assert_eq!(caller(None, 1), Err(KeyError::Token));
        assert_eq!(caller(new.key.token.as_deref(), 3_600_000), Err(KeyError::Expired));
        assert_eq!(world.accounts.caller("AKIANOBODY", None, 1).map(|_| ()), Err(KeyError::Unknown));
    }

    #[test]
    fn patterns_match_as_they_should() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdef", false),
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
            ("a*b*b", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn permissions_are_prefixes() {
        let world = world();
        let permissions =
            vec![("logs:*".to_owned(), "arn:aws:logs:us-east-1:222222222222:log-group:/acme/*".to_owned())];
        let role = world.accounts.add_role(TENANT, "narrow", TrustPolicy::default(), permissions);
        let caller = Caller { role: Some(role), ..world.user };
        let allows = |action, group: &str| {
            world.accounts.allows(&caller, action, &format!("arn:aws:logs:us-east-1:222222222222:log-group:{group}"))
        };
        assert!(allows("logs:PutLogEvents", "/acme/x"));
        assert!(!allows("logs:PutLogEvents", "/other/x") && !allows("s3:GetObject", "/acme/x"));
    }
}
