"""Calls the embedded cloud with boto3 and compares codes and answers with those of AWS.

Usage: script.py PART JSON, where JSON is the line that the program prints when it serves.
"""

import datetime
import gzip
import io
import json
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

STARTED = json.loads(sys.argv[2])
ENDPOINT = STARTED["endpoint"]
SESSION = boto3.session.Session()
REGION = "us-east-1"
CENTRAL, A, B = "111111111111", "222222222222", "333333333333"
DAY = 24 * 60 * 60 * 1000
LIMIT = 1_048_576


def user(name):
    found = next(it for it in STARTED["users"] if it["name"] == name)
    return {"aws_access_key_id": found["id"], "aws_secret_access_key": found["secret"]}


def client(service, keys, **config):
    # What is wrong must reach the other side.
    config = {"parameter_validation": False, "retries": {"total_max_attempts": 1}, **config}
    config["s3"] = {"addressing_style": "path"}
    keys = {**keys, "aws_session_token": keys.get("aws_session_token")}
    return SESSION.client(
        service, region_name=REGION, endpoint_url=ENDPOINT, config=Config(**config), **keys
    )


def queue(name):
    return next(it["url"] for it in STARTED["queues"] if it["name"] == name)


def refused(code, call, status=None, text=None, **arguments):
    """The call must be refused with this code, and perhaps this HTTP status and a text that the message holds."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        got, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        assert got == code, f"{got}, not {code}: {message}"
        got = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert status is None or got == status, f"HTTP {got}, not {status}, with {code}"
        assert text is None or text in message, f"{message!r} lacks {text!r}"
        return error
    raise AssertionError(f"answered, not {code}: {answer}")


def same(got, expected):
    assert got == expected, f"{got!r} is not {expected!r}"


def assume(caller, role, session="session", tags=(), transitive=(), **more):
    if tags:
        more["Tags"] = [{"Key": key, "Value": value} for key, value in dict(tags).items()]
        more["TransitiveTagKeys"] = list(transitive)
    answer = client("sts", caller).assume_role(RoleArn=role, RoleSessionName=session, **more)
    found = answer["Credentials"]
    return {
        "aws_access_key_id": found["AccessKeyId"],
        "aws_secret_access_key": found["SecretAccessKey"],
        "aws_session_token": found["SessionToken"],
    }


def first_hop(tenant):
    tags = {"tenant_id": tenant, "cluster_id": "c1"}
    return assume(user("daemon"), f"arn:aws:iam::{CENTRAL}:role/central", tags=tags, transitive=tags)


def both_hops(tenant, account):
    return assume(first_hop(tenant), f"arn:aws:iam::{account}:role/delivery", ExternalId=CENTRAL)


def calls(keys, **config):
    """One harmless call of every service."""
    return {
        "s3": lambda: client("s3", keys, **config).get_object(Bucket="central-logs", Key="none"),
        "sqs": lambda: client("sqs", keys, **config).receive_message(QueueUrl=queue("wrapped")),
        "dynamodb": lambda: client("dynamodb", keys, **config).scan(TableName="tenants"),
        "sts": lambda: client("sts", keys, **config).get_caller_identity(),
        "logs": lambda: client("logs", keys, **config).describe_log_groups(),
    }


def all_refused(keys, expected, **config):
    for service, call in calls(keys, **config).items():
        code, status = expected[service]
        try:
            refused(code, call, status)
        except AssertionError as error:
            raise AssertionError(f"{service}: {error}") from None


def credentials():
    wrong = {**user("daemon"), "aws_secret_access_key": "wrong"}
    all_refused(wrong, {
        "s3": ("SignatureDoesNotMatch", 403),
        "sqs": ("SignatureDoesNotMatch", 403),
        "dynamodb": ("InvalidSignatureException", 400),
        "sts": ("SignatureDoesNotMatch", 403),
        "logs": ("InvalidSignatureException", 400),
    })
    unknown = {
        "s3": ("InvalidAccessKeyId", 403),
        "sqs": ("InvalidClientTokenId", 403),
        "dynamodb": ("UnrecognizedClientException", 400),
        "sts": ("InvalidClientTokenId", 403),
        "logs": ("UnrecognizedClientException", 400),
    }
    all_refused({**user("daemon"), "aws_access_key_id": "AKIANOBODYHASTHISKEY"}, unknown)
    # A session's key without its token, or with another one, and a token that does not belong to a user's key.
    session = both_hops("a", A)
    invalid = {**unknown, "s3": ("InvalidAccessKeyId", 403)}
    all_refused({**session, "aws_session_token": None}, invalid)
    invalid = {**unknown, "s3": ("InvalidToken", 400)}
    all_refused({**session, "aws_session_token": "another"}, invalid)
    all_refused({**user("daemon"), "aws_session_token": "another"}, invalid)
    all_refused(user("daemon"), {
        "s3": ("AccessDenied", 403),
        "sqs": ("MissingAuthenticationToken", 403),
        "dynamodb": ("MissingAuthenticationTokenException", 400),
        "sts": ("MissingAuthenticationToken", 403),
        "logs": ("MissingAuthenticationTokenException", 400),
    }, signature_version=UNSIGNED)
    # Nothing of it was counted against the right keys.
    for service, call in calls(user("daemon")).items():
        if service == "s3":
            refused("NoSuchKey", call, 404)
        else:
            call()


def signatures():
    """The forms of a signature that S3 takes, and those that it does not."""

    def fetch(url, method="GET", body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            return urllib.request.urlopen(request).read().decode()
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode().split('<Code>')[-1].split('</Code>')[0]}"

    def signed(keys, method="get_object", seconds=60, **more):
        arguments = {"Bucket": "central-logs", "Key": "a/1", **more}
        return client("s3", keys, signature_version="s3v4").generate_presigned_url(method, arguments, ExpiresIn=seconds)

    client("s3", user("daemon")).put_object(Bucket="central-logs", Key="a/1", Body=b"one")
    url = signed(user("daemon"))
    same(fetch(url), "one")
    for part in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"]:
        left = [pair for pair in url.split("?")[1].split("&") if not pair.startswith(f"X-Amz-{part}=")]
        same(fetch(url.split("?")[0] + "?" + "&".join(left)), "400 AuthorizationQueryParametersError")
    same(fetch(url + "&versionId=null"), "403 SignatureDoesNotMatch")
    same(fetch(url, x_amz_request_payer="requester"), "403 AccessDenied")
    same(fetch(url, authorization="AWS4-HMAC-SHA256 x"), "400 InvalidArgument")
    same(fetch(signed(user("daemon"), seconds=604_801)), "400 AuthorizationQueryParametersError")
    same(fetch(signed(user("daemon"), "put_object"), "PUT", b"two"), "")
    same(fetch(url), "two")
    same(fetch(signed({**user("daemon"), "aws_secret_access_key": "wrong"})), "403 SignatureDoesNotMatch")

    # A session's token belongs into the query.
    reader = assume(user("daemon"), f"arn:aws:iam::{CENTRAL}:role/reader")
    same(fetch(signed(reader)), "two")
    same(fetch(signed(reader, Key="b/1")), "403 AccessDenied")
    same(fetch(signed({**reader, "aws_session_token": None})), "403 InvalidAccessKeyId")
    same(fetch(signed({**reader, "aws_session_token": "another"})), "400 InvalidToken")

    # Version 2, in the header and in the query.
    old = client("s3", user("daemon"), signature_version="s3")
    refused("InvalidRequest", old.get_object, 400, "AWS4-HMAC-SHA256", Bucket="central-logs", Key="a/1")
    url = old.generate_presigned_url("get_object", {"Bucket": "central-logs", "Key": "a/1"})
    assert "AWSAccessKeyId=" in url, url
    same(fetch(url), "400 InvalidRequest")

    # What S3 reads of a request must be signed.
    def loose(**more):
        keys = user("daemon")
        request = AWSRequest("GET", f"{ENDPOINT}/central-logs/a/1")
        S3SigV4Auth(Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"]), "s3", REGION).add_auth(request)
        return fetch(request.url, **{name.replace("-", "_"): value for name, value in request.headers.items()}, **more)

    same(loose(), "two")
    same(loose(x_amz_expected_bucket_owner=CENTRAL), "403 AccessDenied")
    same(fetch(f"{ENDPOINT}/central-logs/a/1"), "403 AccessDenied")
    same(fetch(f"{ENDPOINT}/central-logs/a/1", authorization="Basic eDp5"), "400 InvalidArgument")
    other = SESSION.client("s3", region_name="eu-west-1", endpoint_url=ENDPOINT, **user("daemon"))
    refused("AuthorizationHeaderMalformed", other.get_object, 400, Bucket="central-logs", Key="a/1")


def json_call(service, target, body):
    """The error of a call that boto3 would not make."""
    keys, body = user("daemon"), json.dumps(body).encode()
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target}
    request = AWSRequest("POST", ENDPOINT + "/", data=body, headers=headers)
    SigV4Auth(Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"]), service, REGION).add_auth(request)
    try:
        return urllib.request.urlopen(urllib.request.Request(request.url, body, dict(request.headers), method="POST"))
    except urllib.error.HTTPError as error:
        return json.load(error)["__type"].split("#")[-1]


def expiry():
    session = assume(user("daemon"), f"arn:aws:iam::{CENTRAL}:role/powerless")
    same(client("sts", session).get_caller_identity()["Account"], CENTRAL)
    print("ready", flush=True)
    sys.stdin.readline()
    all_refused(session, {
        "s3": ("ExpiredToken", 400),
        "sqs": ("ExpiredToken", 403),
        "dynamodb": ("ExpiredTokenException", 400),
        "sts": ("ExpiredToken", 403),
        "logs": ("ExpiredTokenException", 400),
    })
    # The users' keys stay good, and so does what they do with them.
    same(client("sts", user("daemon")).get_caller_identity()["Account"], CENTRAL)


def held():
    keys, logs = user("daemon"), client("logs", user("daemon"))
    client("s3", keys).put_object(Bucket="central-logs", Key="k", Body=b"one")
    answers = {}
    calls = {
        "s3": lambda: client("s3", keys).put_object(Bucket="central-logs", Key="k", Body=b"two"),
        "sts": lambda: client("sts", keys).assume_role(RoleArn=f"arn:aws:iam::{CENTRAL}:role/powerless", RoleSessionName="xx"),
        "logs": lambda: logs.create_log_group(logGroupName="/held"),
    }
    print("begun", flush=True)
    sys.stdin.readline()
    threads = [threading.Thread(target=lambda of=of: answers.update({of: calls[of]()})) for of in calls]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    # All have arrived.
    for thread in threads:
        thread.join(0.3)
    same(list(answers), [])
    same(client("s3", keys).get_object(Bucket="central-logs", Key="k")["Body"].read(), b"one")
    print("ready", flush=True)
    sys.stdin.readline()
    # Time went on by an hour before they were answered.
    for thread in threads:
        thread.join(20)
    same(sorted(answers), ["logs", "s3", "sts"])
    later = time.time() + 3600 - 60
    assert client("s3", keys).head_object(Bucket="central-logs", Key="k")["LastModified"].timestamp() > later
    assert answers["sts"]["Credentials"]["Expiration"].timestamp() > later + 3600
    assert logs.describe_log_groups()["logGroups"][0]["creationTime"] > later * 1000


def roles():
    same(client("sts", user("daemon")).get_caller_identity()["Arn"], f"arn:aws:iam::{CENTRAL}:user/daemon")
    tenant_a, tenant_b = both_hops("a", A), both_hops("b", B)
    arn = client("sts", tenant_a).get_caller_identity()
    same((arn["Arn"], arn["Account"]), (f"arn:aws:sts::{A}:assumed-role/delivery/session", A))

    # Each of the conditions counts.
    delivery = f"arn:aws:iam::{A}:role/delivery"
    hop = first_hop("a")
    refused("AccessDenied", assume, 403, caller=hop, role=delivery)
    refused("AccessDenied", assume, 403, caller=hop, role=delivery, ExternalId="222222222222")
    refused("AccessDenied", assume, 403, caller=hop, role=delivery + "x", ExternalId=CENTRAL)
    refused("AccessDenied", assume, 403, caller=first_hop("b"), role=delivery, ExternalId=CENTRAL)
    refused("AccessDenied", assume, 403, caller=user("daemon"), role=delivery, ExternalId=CENTRAL)
    refused("AccessDenied", assume, 403, caller=user("ann"), role=f"arn:aws:iam::{B}:role/delivery", ExternalId=CENTRAL)
    refused("AccessDenied", assume, 403, caller=user("ann"), role=f"arn:aws:iam::{CENTRAL}:role/central")
    central = f"arn:aws:iam::{CENTRAL}:role/central"
    refused("AccessDenied", assume, 403, caller=user("daemon"), role=central)
    refused("AccessDenied", assume, 403, caller=user("daemon"), role=central, tags={"tenant_id": "a"})
    # Tags that were not made transitive are lost at the second hop, and a transitive one may not come again.
    tags = {"tenant_id": "a", "cluster_id": "c1"}
    again = {"tags": {"tenant_id": "b"}, "ExternalId": CENTRAL}
    refused("InvalidParameterValue", assume, 400, caller=hop, role=delivery, **again)
    again["tags"] = {"TENANT_ID": "a"}
    refused("InvalidParameterValue", assume, 400, caller=hop, role=delivery, **again)
    # A key is one however it is written, in conditions too; a value is not.
    asking, cased = f"arn:aws:iam::{CENTRAL}:role/asking", f"arn:aws:iam::{A}:role/cased"
    assume(user("daemon"), asking, tags={"tenant_id": "a"})
    refused("AccessDenied", assume, 403, caller=user("daemon"), role=asking, tags={"tenant": "a"})
    assume(hop, cased)
    upper = assume(user("daemon"), central, tags={"tenant_id": "A", "cluster_id": "c1"}, transitive=["TENANT_ID"])
    refused("AccessDenied", assume, 403, caller=upper, role=cased)
    refused("InvalidParameterValue", assume, 400, caller=upper, role=cased, tags={"Tenant_Id": "a"})
    # Lengths and alphabets.
    refused("ValidationError", assume, 400, caller=hop, role=delivery, ExternalId=CENTRAL, DurationSeconds=3601)
    refused("ValidationError", assume, 400, caller=user("daemon"), role=central, tags=tags, DurationSeconds=43_200)
    refused("ValidationError", assume, 400, caller=hop, role=delivery, ExternalId=CENTRAL, session="a b")
    refused("ValidationError", assume, 400, caller=user("daemon"), role=central, tags={**tags, "x": "a*b"})
    refused("ValidationError", assume, 400, caller=user("daemon"), role=central, tags={**tags, "x": "a" * 257})
    refused("InvalidParameterValue", assume, 400, caller=user("daemon"), role=central, tags={**tags, "CLUSTER_ID": "c"})
    assume(user("daemon"), central, tags=tags, transitive=["tenant_id"], DurationSeconds=900)

    # A call goes to the caller's own account: what B has does not exist for A.
    logs_a, logs_b = client("logs", tenant_a), client("logs", tenant_b)
    logs_b.create_log_group(logGroupName="/a/logs")
    logs_b.create_log_stream(logGroupName="/a/logs", logStreamName="s")
    event = {"timestamp": int(time.time() * 1000), "message": "of a"}
    put = {"logGroupName": "/a/logs", "logStreamName": "s", "logEvents": [event]}
    refused("ResourceNotFoundException", logs_a.put_log_events, 400, **put)
    same(client("logs", user("ann")).describe_log_groups()["logGroups"], [])
    logs_a.create_log_group(logGroupName="/a/logs")
    logs_a.create_log_stream(logGroupName="/a/logs", logStreamName="s")
    logs_a.put_log_events(**put)
    same(logs_b.get_log_events(logGroupName="/a/logs", logStreamName="s")["events"], [])

    # What the role does not allow.
    denied = "AccessDeniedException"
    refused(denied, logs_a.create_log_group, 400, f"assumed-role/delivery/session is not authorized", logGroupName="/b")
    refused(denied, logs_a.get_log_events, 400, logGroupName="/a/logs", logStreamName="s")
    refused(denied, logs_a.put_retention_policy, 400, logGroupName="/a/logs", retentionInDays=1)
    powerless = assume(user("daemon"), f"arn:aws:iam::{CENTRAL}:role/powerless")
    refused(denied, client("dynamodb", powerless).scan, 400, TableName="tenants")
    refused("AccessDenied", client("sqs", powerless).receive_message, 403, QueueUrl=queue("wrapped"))
    refused("AccessDenied", client("sqs", powerless).create_queue, 403, QueueName="more")
    refused("AccessDenied", client("s3", powerless).get_object, 403, Bucket="central-logs", Key="none")
    refused("AccessDenied", client("s3", powerless).create_bucket, 403, Bucket="more-logs")
    refused("AccessDenied", assume, 403, caller=powerless, role=f"arn:aws:iam::{CENTRAL}:role/reader")
    reader = client("s3", assume(user("daemon"), f"arn:aws:iam::{CENTRAL}:role/reader"))
    client("s3", user("daemon")).put_object(Bucket="central-logs", Key="a/1", Body=b"one")
    same(reader.get_object(Bucket="central-logs", Key="a/1")["Body"].read(), b"one")
    refused("AccessDenied", reader.get_object, 403, Bucket="central-logs", Key="b/1")
    # Who may not list does not learn what is missing.
    refused("AccessDenied", reader.get_object, 403, Bucket="central-logs", Key="a/none")
    refused("403", reader.head_object, 403, Bucket="central-logs", Key="a/none")
    lister = client("s3", assume(user("daemon"), f"arn:aws:iam::{CENTRAL}:role/lister"))
    refused("NoSuchKey", lister.get_object, 404, Bucket="central-logs", Key="a/none")
    refused("404", lister.head_object, 404, Bucket="central-logs", Key="a/none")
    refused("AccessDenied", reader.put_object, 403, Bucket="central-logs", Key="a/1", Body=b"")
    refused("AccessDenied", reader.list_objects_v2, 403, Bucket="central-logs")

    # Other accounts.
    refused("AccessDenied", client("s3", user("ann")).get_object, 403, Bucket="central-logs", Key="a/1")
    refused("AccessDenied", client("s3", user("ann")).put_object, 403, Bucket="central-logs", Key="a/1", Body=b"")
    refused("BucketAlreadyExists", client("s3", user("ann")).create_bucket, 409, Bucket="central-logs")
    refused("AccessDenied", client("sqs", user("ann")).receive_message, 403, QueueUrl=queue("wrapped"))
    refused("AWS.SimpleQueueService.NonExistentQueue", client("sqs", user("ann")).get_queue_url, 400, QueueName="wrapped")
    refused("ResourceNotFoundException", client("dynamodb", user("ann")).scan, 400, TableName="tenants")


def log_stream(group="/limits", stream="s"):
    logs = client("logs", user("ann"), read_timeout=120)
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)

    def put(events, **more):
        events = [{"timestamp": at, "message": text} for at, text in events]
        return logs.put_log_events(**{"logGroupName": group, "logStreamName": stream, "logEvents": events, **more})

    return logs, put


def limits():
    logs, put = log_stream()
    invalid = "InvalidParameterException"
    now = int(time.time() * 1000)

    # Bytes: 26 for each event and UTF-8, at the limit and one above.
    put([(now, "x" * (LIMIT - 26))])
    refused(invalid, put, 400, "Log event too large: 1048577 bytes exceeds limit of 1048576", events=[(now, "x" * (LIMIT - 25))])
    half = LIMIT // 2 - 26
    put([(now, "x" * half), (now, "y" * half)])
    text = "Upload too large: 1048577 bytes exceeds limit of 1048576"
    refused(invalid, put, 400, text, events=[(now, "x" * half), (now, "y" * (half + 1))])
    put([(now, "é" * (half // 2)), (now, "😀" * (half // 4))])
    refused(invalid, put, 400, "Upload too large: 1048578", events=[(now, "é" * (half // 2) + "é"), (now, "y" * half)])
    # What is escaped in JSON counts as what it stands for.
    put([(now, "\n" * half), (now, '"' * half)])
    # Count.
    put([(now, "e")] * 10_000)
    refused(invalid, put, 400, events=[(now, "e")] * 10_001)
    refused(invalid, put, 400, events=[])
    refused(invalid, put, 400, events=[(now, "e"), (now, "")])
    refused(invalid, put, 400, events=[(-1, "e")])
    # Order and span.
    put([(now - DAY, "a"), (now, "b"), (now, "b")])
    refused(invalid, put, 400, "chronological", events=[(now, "b"), (now - 1, "a")])
    refused(invalid, put, 400, "24 hours", events=[(now - DAY - 1, "a"), (now, "b")])

    # Events outside the window are left out: the old up to an exclusive end, the new from an inclusive start.
    def rejected(events):
        return put(events).get("rejectedLogEventsInfo")

    now = int(time.time() * 1000)
    minute = 60_000
    old, new = now - 14 * DAY, now + 2 * 60 * minute
    same(rejected([(old - minute, "a"), (old - 1, "b"), (old + minute, "c")]), {"tooOldLogEventEndIndex": 2})
    same(rejected([(now, "a"), (new - minute, "b"), (new + minute, "c"), (new + minute, "d")]), {"tooNewLogEventStartIndex": 2})
    both = [(old - minute, "a"), (now, "b"), (new + minute, "c")]
    same(rejected(both), {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2})
    same(rejected([(old - minute, "a")]), {"tooOldLogEventEndIndex": 1})
    logs.put_retention_policy(logGroupName="/limits", retentionInDays=3)
    kept = now - 3 * DAY
    same(rejected([(kept - minute, "a"), (kept - 1, "b"), (kept + minute, "c")]), {"expiredLogEventEndIndex": 2})
    told = {"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2, "tooNewLogEventStartIndex": 3}
    same(rejected([(old - minute, "a"), (kept - minute, "b"), (now, "c"), (new + minute, "d")]), told)
    refused(invalid, logs.put_retention_policy, 400, logGroupName="/limits", retentionInDays=2)

    # What is missing, and what is there.
    missing, exists = "ResourceNotFoundException", "ResourceAlreadyExistsException"
    text = "The specified log group does not exist."
    refused(missing, put, 400, text, events=[(now, "e")], logGroupName="/none")
    refused(missing, logs.create_log_stream, 400, text, logGroupName="/none", logStreamName="s")
    refused(missing, logs.put_retention_policy, 400, text, logGroupName="/none", retentionInDays=1)
    text = "The specified log stream does not exist."
    refused(missing, put, 400, text, events=[(now, "e")], logStreamName="none")
    refused(exists, logs.create_log_group, 400, "The specified log group already exists", logGroupName="/limits")
    refused(exists, logs.create_log_stream, 400, "The specified log stream already exists", logGroupName="/limits", logStreamName="s")

    # Names.
    for name in ["a b", "aws/x", "x" * 513, "é"]:
        refused(invalid, logs.create_log_group, 400, logGroupName=name)
    for name in ["a:b", "a*b", "x" * 513]:
        refused(invalid, logs.create_log_stream, 400, logGroupName="/limits", logStreamName=name)
        refused(invalid, put, 400, events=[(now, "e")], logStreamName=name)
    logs.create_log_group(logGroupName="x" * 512, logGroupClass="INFREQUENT_ACCESS")
    logs.create_log_stream(logGroupName="x" * 512, logStreamName="é" * 512)
    refused(invalid, logs.create_log_group, 400, logGroupName="/other", logGroupClass="DELIVERY")
    few = logs.describe_log_groups(logGroupClass="INFREQUENT_ACCESS")["logGroups"]
    same([group["logGroupName"] for group in few], ["x" * 512])

    # A token has no meaning any more; what is not served is refused, not passed over.
    put([(now, "e")], sequenceToken="0")
    refused(invalid, put, 400, "entity", events=[(now, "e")], entity={"keyAttributes": {"Type": "Service"}})
    refused(invalid, logs.create_log_group, 400, "kmsKeyId", logGroupName="/other", kmsKeyId="arn:aws:kms:x")
    refused(invalid, logs.filter_log_events, 400, logGroupIdentifier="/limits")

    # A body that came compressed counts as what it holds.
    def compressed(events, encoding="gzip", text=None):
        body = {"logGroupName": "/limits", "logStreamName": "s", "logEvents": events}
        body = text or gzip.compress(json.dumps(body).encode())
        request = AWSRequest("POST", ENDPOINT + "/", data=body, headers={
            "Content-Type": "application/x-amz-json-1.1", "Content-Encoding": encoding,
            "X-Amz-Target": "Logs_20140328.PutLogEvents",
        })
        keys = user("ann")
        SigV4Auth(Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"]), "logs", REGION).add_auth(request)
        request = urllib.request.Request(request.url, body, dict(request.headers), method="POST")
        try:
            return json.load(urllib.request.urlopen(request))
        except urllib.error.HTTPError as error:
            return json.load(error)["__type"]

    same(compressed([{"timestamp": now, "message": "x" * (LIMIT - 26)}]), {})
    same(compressed([{"timestamp": now, "message": "x" * (LIMIT - 25)}]), invalid)
    same(compressed([], text=b"no gzip"), "SerializationException")
    same(compressed([], encoding="br"), "SerializationException")
    # A member that AWS does not know either, in the call and in an event.
    text = b'{"logGroupName": "/limits", "logStreamName": "s", "logEvent": []}'
    same(compressed([], text=gzip.compress(text)), invalid)
    same(compressed([{"timestamp": now, "message": "x", "level": "x"}]), invalid)


def reading():
    logs, put = log_stream("/reading", "s")
    now = int(time.time() * 1000) - 60_000
    put([(now + 10 * at, f"e{at:03}") for at in range(100)])
    # A later batch with earlier events is read where it belongs.
    put([(now + 10 * at + 5, f"e{at:03}+") for at in range(3)])
    of = {"logGroupName": "/reading", "logStreamName": "s"}
    expected = sorted([f"e{at:03}" for at in range(100)] + [f"e{at:03}+" for at in range(3)])

    seen, token = [], None
    for _ in range(100):
        more = {"nextToken": token} if token else {}
        page = logs.get_log_events(**of, limit=7, startFromHead=True, **more)
        assert len(page["events"]) <= 7
        seen += [event["message"] for event in page["events"]]
        if page["nextForwardToken"] == token:
            break
        token = page["nextForwardToken"]
    same(seen, expected)
    assert page["events"] == []
    tail = logs.get_log_events(**of, limit=2)
    same([event["message"] for event in tail["events"]], ["e098", "e099"])
    tail = logs.get_log_events(**of, limit=2, nextToken=tail["nextBackwardToken"])
    same([event["message"] for event in tail["events"]], ["e096", "e097"])
    some = logs.get_log_events(**of, startTime=now + 20, endTime=now + 30)["events"]
    same([(event["timestamp"], event["message"]) for event in some], [(now + 20, "e002"), (now + 25, "e002+")])
    assert all(now + 60_000 <= event["ingestionTime"] <= time.time() * 1000 for event in some)
    refused("InvalidParameterException", logs.get_log_events, 400, **of, nextToken="x")
    refused("InvalidParameterException", logs.get_log_events, 400, **of, limit=10_001)
    refused("ResourceNotFoundException", logs.get_log_events, 400, logGroupName="/reading", logStreamName="none")

    # A page has at most 1 MiB.
    logs.create_log_stream(logGroupName="/reading", logStreamName="wide")
    for at in range(3):
        put([(now + at, "x" * 600_000)], logStreamName="wide")
    page = logs.get_log_events(logGroupName="/reading", logStreamName="wide", startFromHead=True)
    same(len(page["events"]), 1)

    # All streams together, in the order of time; the end is inclusive here.
    logs.create_log_stream(logGroupName="/reading", logStreamName="t")
    put([(now + 1, "of t")], logStreamName="t")
    seen = []
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName="/reading", logStreamNames=["s", "t"], PaginationConfig={"PageSize": 10}
    )
    for page in pages:
        seen += page["events"]
    same(len(seen), 104)
    same([event["message"] for event in seen[:3]], ["e000", "of t", "e000+"])
    same(len({event["eventId"] for event in seen}), 104)
    some = logs.filter_log_events(logGroupName="/reading", logStreamNamePrefix="s", startTime=now + 20, endTime=now + 30)
    same([event["message"] for event in some["events"]], ["e002", "e002+", "e003"])
    both = {"logStreamNamePrefix": "s", "logStreamNames": ["s"]}
    refused("InvalidParameterException", logs.filter_log_events, 400, logGroupName="/reading", **both)
    refused("InvalidParameterException", logs.filter_log_events, 400, logGroupName="/reading", filterPattern="x")
    refused("ResourceNotFoundException", logs.filter_log_events, 400, logGroupName="/none")

    # Groups and streams in pages of at most fifty.
    for at in range(60):
        logs.create_log_stream(logGroupName="/reading", logStreamName=f"p{at:02}")
        logs.create_log_group(logGroupName=f"/many/{at:02}")
    page = logs.describe_log_groups(logGroupNamePrefix="/many/")
    same(len(page["logGroups"]), 50)
    page = logs.describe_log_groups(logGroupNamePrefix="/many/", nextToken=page["nextToken"])
    same((len(page["logGroups"]), page.get("nextToken")), (10, None))
    same(page["logGroups"][0]["logGroupName"], "/many/50")
    refused("InvalidParameterException", logs.describe_log_groups, 400, limit=51)
    logs.put_retention_policy(logGroupName="/reading", retentionInDays=7)
    group = logs.describe_log_groups(logGroupNamePrefix="/reading")["logGroups"][0]
    same((group["retentionInDays"], group["logGroupClass"]), (7, "STANDARD"))
    same(group["arn"], f"arn:aws:logs:{REGION}:{A}:log-group:/reading:*")
    assert "retentionInDays" not in page["logGroups"][0]
    names = []
    pages = logs.get_paginator("describe_log_streams").paginate(
        logGroupName="/reading", logStreamNamePrefix="p", PaginationConfig={"PageSize": 25}
    )
    for page in pages:
        assert len(page["logStreams"]) <= 25
        names += [stream["logStreamName"] for stream in page["logStreams"]]
    same(names, [f"p{at:02}" for at in range(60)])
    last = logs.describe_log_streams(logGroupName="/reading", orderBy="LastEventTime", descending=True, limit=1)
    same(last["logStreams"][0]["logStreamName"], "s")
    same(last["logStreams"][0]["lastEventTimestamp"], now + 990)
    refused("ResourceNotFoundException", logs.describe_log_streams, 400, logGroupName="/none")


def received(sqs, name, **more):
    url = queue(name)
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, **more).get("Messages", [])


def objects():
    s3, sqs = client("s3", user("daemon")), client("sqs", user("daemon"))
    put = s3.put_object(Bucket="central-logs", Key="k", Body=b"0123456789", ContentType="text/x", ContentEncoding="gzip")
    of = {"Bucket": "central-logs", "Key": "k"}
    got = s3.get_object(**of)
    same((got["Body"].read(), got["ETag"]), (b"0123456789", '"781e5e245d69b566979b86e28d23f2c7"'))
    same((got["ContentType"], got["ContentEncoding"]), ("text/x", "gzip"))
    for wanted, body, told in [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
    ]:
        got = s3.get_object(**of, Range=wanted)
        same((got["Body"].read(), got["ContentRange"], got["ContentLength"]), (body, told, len(body)))
        same(got["ResponseMetadata"]["HTTPStatusCode"], 206)
    refused("InvalidRange", s3.get_object, 416, **of, Range="bytes=10-")
    s3.put_object(Bucket="central-logs", Key="empty", Body=b"")
    refused("InvalidRange", s3.get_object, 416, Bucket="central-logs", Key="empty", Range="bytes=0-9")
    refused("InvalidRange", s3.get_object, 416, Bucket="central-logs", Key="empty", Range="bytes=-1")
    same(s3.get_object(Bucket="central-logs", Key="empty")["Body"].read(), b"")
    same(s3.get_object(**of, IfMatch=put["ETag"], Range="bytes=0-0")["Body"].read(), b"0")
    refused("PreconditionFailed", s3.get_object, 412, **of, IfMatch='"other"')
    refused("NoSuchKey", s3.get_object, 404, Bucket="central-logs", Key="none")
    refused("404", s3.head_object, 404, Bucket="central-logs", Key="none")
    refused("NoSuchBucket", s3.get_object, 404, Bucket="none-such", Key="k")
    head = s3.head_object(**of)
    same((head["ContentLength"], head["ETag"], head["ContentType"]), (10, put["ETag"], "text/x"))
    refused("InvalidArgument", s3.get_object, 400, **of, VersionId="1")

    # Versions.
    first = s3.put_object(Bucket="versions", Key="k", Body=b"first")
    second = s3.put_object(Bucket="versions", Key="k", Body=b"second")
    assert first["VersionId"] != second["VersionId"]
    of = {"Bucket": "versions", "Key": "k"}
    same(s3.get_object(**of)["Body"].read(), b"second")
    same(s3.get_object(**of)["VersionId"], second["VersionId"])
    same(s3.get_object(**of, VersionId=first["VersionId"])["Body"].read(), b"first")
    same(s3.head_object(**of, VersionId=first["VersionId"])["ContentLength"], 5)
    refused("NoSuchVersion", s3.get_object, 404, **of, VersionId=second["VersionId"] + "0")
    assert "VersionId" not in put
    received(sqs, "wrapped"), received(sqs, "raw")

    # Each object is told of, once to each queue, with its key as a form has it.
    s3.create_bucket(Bucket="quiet")
    s3.put_object(Bucket="quiet", Key="k", Body=b"")
    s3.create_bucket(Bucket="quiet")
    same(s3.get_object(Bucket="quiet", Key="k")["Body"].read(), b"")
    s3.put_object(Bucket="quiet", Key="k", Body=b"replaced")
    same(s3.get_object(Bucket="quiet", Key="k")["Body"].read(), b"replaced")
    keys = ["a b+c/d&e=f", "ключ/é/%41", "plain-_.*~!()'"]
    for key in keys:
        s3.put_object(Bucket="central-logs", Key=key, Body=b"12345")
        same(s3.get_object(Bucket="central-logs", Key=key)["Body"].read(), b"12345")
    told = {}
    for name in ["wrapped", "raw"]:
        bodies = [json.loads(message["Body"]) for message in received(sqs, name, WaitTimeSeconds=1)]
        if name == "wrapped":
            assert all(body["Type"] == "Notification" and body["TopicArn"] for body in bodies)
            bodies = [json.loads(body["Message"]) for body in bodies]
        told[name] = bodies
        same([len(body["Records"]) for body in bodies], [1] * 3)
        records = [body["Records"][0] for body in bodies]
        raw = [record["s3"]["object"]["key"] for record in records]
        same([urllib.parse.unquote_plus(key) for key in raw], keys)
        same(raw[0], "a+b%2Bc/d%26e%3Df")
        assert all(key.isascii() and " " not in key for key in raw)
        for record in records:
            same((record["eventName"], record["eventSource"], record["awsRegion"]), ("ObjectCreated:Put", "aws:s3", REGION))
            same((record["s3"]["object"]["size"], record["s3"]["bucket"]["name"]), (5, "central-logs"))
            same(record["s3"]["object"]["eTag"], "827ccb0eea8a706c4c34a16891f84e7b")
            assert record["s3"]["object"]["sequencer"] and "versionId" not in record["s3"]["object"]
    same(told["wrapped"], told["raw"])
    third = s3.put_object(Bucket="versions", Key="k", Body=b"third")
    record = json.loads(received(sqs, "raw")[0]["Body"])["Records"][0]
    same(record["s3"]["object"]["versionId"], third["VersionId"])

    listed = s3.get_paginator("list_objects_v2").paginate(Bucket="central-logs", PaginationConfig={"PageSize": 2})
    same([it["Key"] for page in listed for it in page["Contents"]], sorted([*keys, "k", "empty"]))
    none = s3.list_objects_v2(Bucket="central-logs", MaxKeys=0)
    same((none["KeyCount"], none["MaxKeys"], none["IsTruncated"], none.get("Contents")), (0, 0, False, None))
    refused("InvalidArgument", s3.list_objects_v2, 400, Bucket="central-logs", MaxKeys=-1)
    # Half a body, or another one than was announced, is no object.
    refused("BadDigest", s3.put_object, 400, Bucket="central-logs", Key="bad", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    refused("BadDigest", s3.put_object, 400, Bucket="central-logs", Key="bad", Body=b"x", ChecksumCRC32="AAAAAA==")
    refused("NoSuchKey", s3.get_object, 404, Bucket="central-logs", Key="bad")

    # A large one, in pieces.
    large = bytes(bytearray(at * 7 % 251 for at in range(3 << 20)))
    s3.put_object(Bucket="quiet", Key="large", Body=io.BytesIO(large))
    same(s3.get_object(Bucket="quiet", Key="large")["Body"].read() == large, True)
    body = s3.get_object(Bucket="quiet", Key="large", Range=f"bytes={1 << 20}-{(2 << 20) + 4}")["Body"].read()
    same(body == large[1 << 20:(2 << 20) + 5], True)


def conditions():
    s3 = client("s3", user("daemon"))
    of = {"Bucket": "central-logs", "Key": "k"}
    tag = s3.put_object(**of, Body=b"one")["ETag"]
    modified = s3.head_object(**of)["LastModified"]
    before, after = (modified + datetime.timedelta(seconds=by) for by in (-60, 60))
    for read in [s3.get_object, s3.head_object]:
        failed, known = ("412", "304") if read == s3.head_object else ("PreconditionFailed", "304")
        for code, condition in [
            (failed, {"IfMatch": '"other"'}),
            (failed, {"IfUnmodifiedSince": before}),
            (known, {"IfNoneMatch": tag}),
            (known, {"IfModifiedSince": modified}),
            (None, {"IfMatch": tag, "IfUnmodifiedSince": before}),
            (None, {"IfNoneMatch": '"other"', "IfModifiedSince": after}),
            (None, {"IfUnmodifiedSince": modified, "IfModifiedSince": before}),
            (None, {"ExpectedBucketOwner": CENTRAL}),
            ("403" if read == s3.head_object else "AccessDenied", {"ExpectedBucketOwner": A}),
        ]:
            if code:
                refused(code, read, **of, **condition)
            else:
                same(read(**of, **condition)["ETag"], tag)
    same(refused("304", s3.get_object, **of, IfNoneMatch=tag).response["ResponseMetadata"]["HTTPHeaders"]["etag"], tag)

    # Writes.
    refused("PreconditionFailed", s3.put_object, 412, **of, Body=b"two", IfNoneMatch="*")
    refused("PreconditionFailed", s3.put_object, 412, **of, Body=b"two", IfMatch='"other"')
    refused("NoSuchKey", s3.put_object, 404, Bucket="central-logs", Key="none", Body=b"two", IfMatch=tag)
    refused("NotImplemented", s3.put_object, 501, **of, Body=b"two", IfNoneMatch=tag)
    same(s3.get_object(**of)["Body"].read(), b"one")
    tag = s3.put_object(**of, Body=b"two", IfMatch=tag)["ETag"]
    s3.put_object(Bucket="central-logs", Key="new", Body=b"new", IfNoneMatch="*")

    # Every call looks at the owner that is expected.
    upload = s3.create_multipart_upload(Bucket="central-logs", Key="u")["UploadId"]
    source = {"Bucket": "central-logs", "Key": "k"}
    of_upload = {"Bucket": "central-logs", "Key": "u", "UploadId": upload}
    part = s3.upload_part_copy(**of_upload, PartNumber=1, CopySource=source)["CopyPartResult"]["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    for call, arguments in [
        (s3.put_object, {**of, "Body": b""}),
        (s3.list_objects_v2, {"Bucket": "central-logs"}),
        (s3.copy_object, {"Bucket": "central-logs", "Key": "copy", "CopySource": source}),
        (s3.create_multipart_upload, of),
        (s3.upload_part_copy, {**of_upload, "PartNumber": 1, "CopySource": source}),
        (s3.complete_multipart_upload, {**of_upload, "MultipartUpload": parts}),
        (s3.abort_multipart_upload, of_upload),
    ]:
        refused("AccessDenied", call, 403, **arguments, ExpectedBucketOwner=A)
        refused("InvalidBucketOwnerAWSAccountID", call, 400, **arguments, ExpectedBucketOwner="me")
        if "CopySource" in arguments:
            refused("AccessDenied", call, 403, **arguments, ExpectedSourceBucketOwner=A)
            refused("PreconditionFailed", call, 412, **arguments, CopySourceIfNoneMatch=tag)
            refused("PreconditionFailed", call, 412, **arguments, CopySourceIfMatch='"other"')
            refused("PreconditionFailed", call, 412, **arguments, CopySourceIfUnmodifiedSince=before)
            refused("PreconditionFailed", call, 412, **arguments, CopySourceIfModifiedSince=after)

    # What is not served is refused by name, and nothing is done.
    for call, arguments in [
        (s3.get_object, {**of, "ResponseContentType": "text/plain"}),
        (s3.get_object, {**of, "PartNumber": 1}),
        (s3.head_object, {**of, "PartNumber": 1}),
        (s3.head_object, {**of, "Range": "bytes=0-0"}),
        (s3.put_object, {**of, "Body": b"", "StorageClass": "GLACIER"}),
        (s3.put_object, {**of, "Body": b"", "CacheControl": "no-store"}),
        (s3.put_object, {**of, "Body": b"", "Tagging": "a=b"}),
        (s3.copy_object, {"Bucket": "central-logs", "Key": "copy", "CopySource": source, "ServerSideEncryption": "aws:kms"}),
        (s3.complete_multipart_upload, {**of_upload, "MultipartUpload": parts, "ChecksumCRC32": "AAAAAA=="}),
        (s3.list_objects_v2, {"Bucket": "central-logs", "Delimiter": "/"}),
        (s3.list_objects_v2, {"Bucket": "central-logs", "FetchOwner": True}),
    ]:
        refused("501" if call == s3.head_object else "NotImplemented", call, 501, **arguments)
    same(s3.get_object(**of)["Body"].read(), b"two")
    refused("NoSuchKey", s3.get_object, 404, Bucket="central-logs", Key="copy")

    # A completion is a write too.
    s3.put_object(Bucket="central-logs", Key="u", Body=b"first")
    refused("PreconditionFailed", s3.complete_multipart_upload, 412, **of_upload, MultipartUpload=parts, IfNoneMatch="*")
    refused("InvalidRequest", s3.complete_multipart_upload, 400, **of_upload, MultipartUpload=parts, MpuObjectSize=4)
    s3.complete_multipart_upload(**of_upload, MultipartUpload=parts, MpuObjectSize=3)
    same(s3.get_object(Bucket="central-logs", Key="u")["Body"].read(), b"two")

    refused("InvalidRequest", s3.copy_object, 400, **of, CopySource=source)
    s3.copy_object(**of, CopySource=source, MetadataDirective="REPLACE", Metadata={"a": "b"})
    same(s3.head_object(**of)["Metadata"], {"a": "b"})

    # Names.
    for name in ["ab", "a" * 64, "Upper", "a_b", "-ab", "ab-", "a..b", "192.168.0.1", "xn--ab", "sthree-a", "a-s3alias"]:
        refused("InvalidBucketName", s3.create_bucket, 400, Bucket=name)
    s3.create_bucket(Bucket="a.b-3")
    for code, place in [("IllegalLocationConstraintException", "eu-west-1"), ("InvalidLocationConstraint", REGION)]:
        place = {"LocationConstraint": place}
        refused(code, s3.create_bucket, 400, Bucket="elsewhere", CreateBucketConfiguration=place)


def unkept():
    s3 = client("s3", user("daemon"))
    refused("InternalError", s3.put_object, 500, Bucket="central-logs", Key="k", Body=b"x")
    refused("NoSuchKey", s3.get_object, 404, Bucket="central-logs", Key="k")
    same(received(client("sqs", user("daemon")), "raw"), [])
    s3.put_object(Bucket="versions", Key="k", Body=b"x")
    source = {"Bucket": "versions", "Key": "k"}
    refused("InternalError", s3.copy_object, 500, Bucket="central-logs", Key="k", CopySource=source)


def large():
    keys, size = user("daemon"), 64 << 20
    piece = bytes(range(256)) * 256
    client("s3", keys).put_object(Bucket="central-logs", Key="large", Body=piece * (size // len(piece)))
    opened = [client("s3", keys).get_object(Bucket="central-logs", Key="large") for _ in range(4)]
    for got in opened:
        same(got["Body"].read(len(piece)), piece)
    for got in opened:
        same(sum(len(part) for part in got["Body"].iter_chunks(1 << 20)), size - len(piece))


def queues():
    sqs = client("sqs", user("daemon"))
    url, dead = queue("short"), queue("dead")
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    same(attributes["VisibilityTimeout"], "1")
    same(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"], 2)
    same(list(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]), ["VisibilityTimeout"])
    same(sqs.get_queue_url(QueueName="short")["QueueUrl"], url)

    # A long poll ends with the first message, or with nothing when its time is over.
    began = time.monotonic()
    same(received(sqs, "short", WaitTimeSeconds=1), [])
    assert 0.9 < time.monotonic() - began < 5
    attribute = {"reason": {"DataType": "String", "StringValue": "why"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=1, MessageAttributes=attribute)
    began = time.monotonic()
    first = received(sqs, "short", WaitTimeSeconds=20, AttributeNames=["All"], MessageAttributeNames=["All"])
    assert time.monotonic() - began < 10
    same([(it["Body"], it["MessageId"]) for it in first], [("later", sent["MessageId"])])
    same(first[0]["Attributes"]["ApproximateReceiveCount"], "1")
    same(first[0]["MessageAttributes"]["reason"]["StringValue"], "why")
    same(received(sqs, "short"), [])
    # Shown at once by visibility 0; the second receive gives another receipt, and what was not asked for is not told.
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first[0]["ReceiptHandle"], VisibilityTimeout=0)
    second = received(sqs, "short", WaitTimeSeconds=5)
    assert second[0]["ReceiptHandle"] != first[0]["ReceiptHandle"]
    assert "Attributes" not in second[0] and "MessageAttributes" not in second[0]
    # The old receipt deletes nothing; after two receives the message goes to the dead-letter queue, with its id.
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first[0]["ReceiptHandle"])
    same(received(sqs, "short", WaitTimeSeconds=2), [])
    names = {"AttributeNames": ["ApproximateReceiveCount"], "MessageAttributeNames": ["reason"]}
    given_up = received(sqs, "dead", WaitTimeSeconds=5, **names)
    same([(it["Body"], it["MessageId"]) for it in given_up], [("later", sent["MessageId"])])
    same(list(given_up[0]["MessageAttributes"]), ["reason"])
    sqs.delete_message(QueueUrl=dead, ReceiptHandle=given_up[0]["ReceiptHandle"])
    same(received(sqs, "dead", VisibilityTimeout=0), [])

    # Batches: one bad entry fails alone.
    for body in ["1", "2", "3"]:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    messages = []
    while len(messages) < 3:
        messages += received(sqs, "short", WaitTimeSeconds=5, VisibilityTimeout=60)
    receipts = [it["ReceiptHandle"] for it in messages]
    entries = [{"Id": str(at), "ReceiptHandle": receipt} for at, receipt in enumerate([*receipts[:2], "no receipt"])]
    hide = [{**entry, "VisibilityTimeout": 30} for entry in entries]
    hide[1]["VisibilityTimeout"] = 43_201
    answer = sqs.change_message_visibility_batch(QueueUrl=url, Entries=hide)
    same([it["Id"] for it in answer["Successful"]], ["0"])
    codes = [(it["Id"], it["Code"], it["SenderFault"]) for it in answer["Failed"]]
    same(codes, [("1", "InvalidParameterValue", True), ("2", "ReceiptHandleIsInvalid", True)])
    answer = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    same([it["Id"] for it in answer["Successful"]], ["0", "1"])
    same([(it["Id"], it["Code"]) for it in answer["Failed"]], [("2", "ReceiptHandleIsInvalid")])
    count = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"])
    same(count["Attributes"], {"ApproximateNumberOfMessagesNotVisible": "1"})
    # A deleted message's receipt still deletes, but hides nothing.
    sqs.delete_message(QueueUrl=url, ReceiptHandle=receipts[0])
    hide = {"QueueUrl": url, "ReceiptHandle": receipts[0], "VisibilityTimeout": 1}
    refused("InvalidParameterValue", sqs.change_message_visibility, 400, "Message does not exist", **hide)

    wrong = "AWS.SimpleQueueService."
    many = [{"Id": str(at), "ReceiptHandle": receipts[2]} for at in range(11)]
    refused(wrong + "TooManyEntriesInBatchRequest", sqs.delete_message_batch, 400, QueueUrl=url, Entries=many)
    refused(wrong + "BatchEntryIdsNotDistinct", sqs.delete_message_batch, 400, QueueUrl=url, Entries=[many[0]] * 2)
    refused(wrong + "EmptyBatchRequest", sqs.delete_message_batch, 400, QueueUrl=url, Entries=[])
    refused(wrong + "InvalidBatchEntryId", sqs.delete_message_batch, 400, QueueUrl=url, Entries=[{**many[0], "Id": "a b"}])
    # An entry with a member of another call's.
    body = {"QueueUrl": url, "Entries": [{**many[0], "MessageBody": "x"}]}
    same(json_call("sqs", "AmazonSQS.DeleteMessageBatch", body), "SerializationException")
    refused("ReceiptHandleIsInvalid", sqs.delete_message, 400, QueueUrl=url, ReceiptHandle="no receipt")
    error = refused(wrong + "NonExistentQueue", sqs.receive_message, 400, QueueUrl=url + "x")
    assert isinstance(error, sqs.exceptions.QueueDoesNotExist), type(error)
    refused("InvalidParameterValue", sqs.receive_message, 400, QueueUrl=url, MaxNumberOfMessages=11)
    refused("InvalidParameterValue", sqs.receive_message, 400, QueueUrl=url, WaitTimeSeconds=21)
    refused("InvalidParameterValue", sqs.receive_message, 400, QueueUrl=url, VisibilityTimeout=43_201)
    refused("InvalidParameterValue", sqs.send_message, 400, QueueUrl=url, MessageBody="x", DelaySeconds=901)
    refused("InvalidParameterValue", sqs.send_message, 400, QueueUrl=url, MessageBody="x" * (LIMIT + 1))
    refused("MissingParameter", sqs.send_message, 400, QueueUrl=url, MessageBody="")
    refused("InvalidMessageContents", sqs.send_message, 400, QueueUrl=url, MessageBody="\x00")
    sqs.send_message(QueueUrl=dead, MessageBody="x" * LIMIT)

    made = sqs.create_queue(QueueName="made", Attributes={"VisibilityTimeout": "7"})["QueueUrl"]
    same(sqs.create_queue(QueueName="made", Attributes={"VisibilityTimeout": "7"})["QueueUrl"], made)
    refused("QueueAlreadyExists", sqs.create_queue, 400, QueueName="made", Attributes={"VisibilityTimeout": "8"})
    refused("InvalidParameterValue", sqs.create_queue, 400, QueueName="a b")
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{CENTRAL}:dead", "maxReceiveCount": "5"}
    sqs.set_queue_attributes(QueueUrl=made, Attributes={"VisibilityTimeout": "9", "RedrivePolicy": json.dumps(policy)})
    attributes = sqs.get_queue_attributes(QueueUrl=made, AttributeNames=["All"])["Attributes"]
    same((attributes["VisibilityTimeout"], json.loads(attributes["RedrivePolicy"])["maxReceiveCount"]), ("9", 5))
    for policy in [{**policy, "deadLetterTargetArn": policy["deadLetterTargetArn"] + "x"}, {**policy, "maxReceiveCount": 0}]:
        policy = {"RedrivePolicy": json.dumps(policy)}
        refused("InvalidParameterValue", sqs.set_queue_attributes, 400, QueueUrl=made, Attributes=policy)
    # A dead-letter queue is of the same account and region.
    client("sqs", user("ann")).create_queue(QueueName="dead")
    elsewhere = SESSION.client("sqs", region_name="eu-west-1", endpoint_url=ENDPOINT, **user("daemon"))
    elsewhere.create_queue(QueueName="dead")
    for arn in [f"arn:aws:sqs:{REGION}:{A}:dead", f"arn:aws:sqs:eu-west-1:{CENTRAL}:dead"]:
        policy = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})}
        refused("InvalidParameterValue", sqs.set_queue_attributes, 400, "RedrivePolicy", QueueUrl=made, Attributes=policy)
        refused("InvalidParameterValue", sqs.create_queue, 400, "RedrivePolicy", QueueName="more", Attributes=policy)
    refused("InvalidAttributeValue", sqs.set_queue_attributes, 400, QueueUrl=made, Attributes={"VisibilityTimeout": "-1"})
    refused("InvalidAttributeName", sqs.set_queue_attributes, 400, QueueUrl=made, Attributes={"Colour": "red"})


def tables():
    db = client("dynamodb", user("daemon"))
    same(db.scan(TableName="tenants")["Items"], [{"tenant_id": {"S": "a"}, "type": {"S": "cloudwatch"}}])
    schema = {
        "TableName": "made",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
        "AttributeDefinitions": [
            {"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "n", "AttributeType": "S"}
        ],
        "BillingMode": "PAY_PER_REQUEST",
    }
    db.create_table(**schema)
    refused("ResourceInUseException", db.create_table, 400, **schema)
    db.get_waiter("table_exists").wait(TableName="made")
    rows = SESSION.resource(
        "dynamodb", region_name=REGION, endpoint_url=ENDPOINT, **user("daemon")
    ).Table("made")
    for at in range(5):
        rows.put_item(Item={"id": "x", "n": f"{at}", "list": ["a", True, None, at], "wide": "w" * 300_000})
    rows.put_item(Item={"id": "y", "n": "0", "set": {"a", "b"}})
    same(rows.get_item(Key={"id": "y", "n": "0"})["Item"]["set"], {"a", "b"})
    query = {
        "TableName": "made", "KeyConditionExpression": "#id = :id",
        "ExpressionAttributeNames": {"#id": "id"}, "ExpressionAttributeValues": {":id": {"S": "x"}},
    }
    # By limit, and by a page's megabyte.
    page = db.query(**query, Limit=2, ConsistentRead=True)
    same(page["LastEvaluatedKey"], {"id": {"S": "x"}, "n": {"S": "1"}})
    page = db.query(**query, Limit=2, ExclusiveStartKey=page["LastEvaluatedKey"])
    same([item["n"]["S"] for item in page["Items"]], ["2", "3"])
    page = db.query(**query)
    assert len(page["Items"]) < 5 and page["LastEvaluatedKey"]
    pages = db.get_paginator("query").paginate(**query)
    same([item["n"]["S"] for page in pages for item in page["Items"]], ["0", "1", "2", "3", "4"])
    one = {**query, "KeyConditionExpression": "#id = :id AND n = :n"}
    one["ExpressionAttributeValues"] = {":id": {"S": "x"}, ":n": {"S": "3"}}
    same(db.query(**one)["Count"], 1)
    one["ExpressionAttributeValues"] = {":id": {"S": "none"}, ":n": {"S": "3"}}
    same(db.query(**one)["Items"], [])
    db.delete_item(TableName="made", Key={"id": {"S": "x"}, "n": {"S": "0"}})
    db.delete_item(TableName="made", Key={"id": {"S": "x"}, "n": {"S": "0"}})
    pages = db.get_paginator("scan").paginate(TableName="made", PaginationConfig={"PageSize": 2})
    same(sum(page["Count"] for page in pages), 5)

    invalid = "ValidationException"
    for call, more in [
        (db.query, {k: v for k, v in query.items() if k != "TableName"}),
        (db.put_item, {"Item": {"id": {"S": "x"}}}),
        (db.scan, {}),
        (db.delete_item, {"Key": {"id": {"S": "x"}}}),
        (db.describe_table, {}),
    ]:
        refused("ResourceNotFoundException", call, 400, TableName="none", **more)
    refused(invalid, db.put_item, 400, TableName="made", Item={"id": {"S": "x"}})
    refused(invalid, db.put_item, 400, TableName="made", Item={"id": {"S": ""}, "n": {"S": "1"}})
    refused(invalid, db.put_item, 400, TableName="made", Item={"id": {"N": "1"}, "n": {"S": "1"}})
    refused(invalid, db.get_item, 400, TableName="made", Key={"id": {"S": "x"}})
    more = {"id": {"S": "x"}, "n": {"S": "1"}, "z": {"S": "1"}}
    refused(invalid, db.get_item, 400, TableName="made", Key=more)
    refused(invalid, db.query, 400, **{**query, "KeyConditionExpression": "n = :id"})
    # 400 KB of names and values.
    wide = {"id": {"S": "x"}, "n": {"S": "w"}, "v": {"S": "v" * (400 * 1024 - 6)}}
    db.put_item(TableName="made", Item={**wide, "v": {"S": "v" * (400 * 1024 - 6)}})
    refused(invalid, db.put_item, 400, "Item size", TableName="made", Item={**wide, "v": {"S": "v" * (400 * 1024 - 5)}})
    # What is not served is refused, not passed over.
    more = {"FilterExpression": "z = :id"}
    refused(invalid, db.query, 400, **query, **more)
    refused(invalid, db.put_item, 400, TableName="made", Item=wide, ConditionExpression="attribute_not_exists(id)")


def faults():
    """Each kind of refusal in turn, once for every service."""
    old = {"s3": ("ExpiredToken", 400), "sqs": ("ExpiredToken", 403), "sts": ("ExpiredToken", 403)}
    json_old = ("ExpiredTokenException", 400)
    denied = {service: ("AccessDenied", 403) for service in ["s3", "sqs", "sts"]}
    json_denied = ("AccessDeniedException", 400)
    skewed = {service: ("SignatureDoesNotMatch", 403) for service in ["sqs", "sts"]}
    json_skewed = ("InvalidSignatureException", 400)
    unavailable = {service: ("ServiceUnavailable", 503) for service in ["s3", "sqs", "sts", "dynamodb"]}
    for expected in [
        {
            "s3": ("SlowDown", 503),
            "sqs": ("RequestThrottled", 400),
            "dynamodb": ("ProvisionedThroughputExceededException", 400),
            "sts": ("Throttling", 400),
            "logs": ("ThrottlingException", 400),
        },
        {
            "s3": ("InternalError", 500),
            "sqs": ("InternalFailure", 500),
            "dynamodb": ("InternalServerError", 500),
            "sts": ("InternalFailure", 500),
            "logs": ("InternalFailure", 500),
        },
        {**unavailable, "logs": ("ServiceUnavailableException", 503)},
        {**old, "dynamodb": json_old, "logs": json_old},
        {**skewed, "s3": ("RequestTimeTooSkewed", 403), "dynamodb": json_skewed, "logs": json_skewed},
        {**denied, "dynamodb": json_denied, "logs": json_denied},
    ]:
        all_refused(user("daemon"), expected)
    # Connections that are reset: nobody refuses anything.
    for _ in range(2):
        for service, call in calls(user("daemon")).items():
            try:
                answer = call()
            except (ConnectionError, HTTPClientError):
                continue
            raise AssertionError(f"{service} answered: {answer}")
    # All of it is over; and a client that tries again gets through what comes now, whatever it is.
    client("sqs", user("daemon")).receive_message(QueueUrl=queue("wrapped"))
    patient = client("sts", user("daemon"), retries={"total_max_attempts": 10, "mode": "standard"})
    for _ in range(3):
        patient.get_caller_identity()


globals()[sys.argv[1]]()
