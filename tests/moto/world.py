"""Starts a moto server, sets it up, runs the daemon's binary against it, and compares what arrived with what was sent.

usage: world.py BINARY CORPUS_DIR
Prints one line per check and exits with 1 at the first that fails. Messages are real log lines, or those below where
there is no corpus: what comes back must be what went in, byte for byte.
"""

import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.parse

import boto3
from moto.backends import get_backend
from moto.server import ThreadedMotoServer

BINARY, CORPUS = sys.argv[1], pathlib.Path(sys.argv[2])
SERVER = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
SERVER.start()
ENDPOINT = "http://{}:{}".format(*SERVER.get_host_and_port())
REGION = "us-east-1"
GROUP = "/customer/logs"
KEYS = dict(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION, endpoint_url=ENDPOINT)
# The account that moto gives to keys which it did not hand out itself.
CENTRAL = "123456789012"
CUSTOMER = "222222222222"
# As in the real ones: carriage returns, tabs, quotes, backslashes, text that is not ASCII; and control characters.
BUILT_IN = [
    b"\r",
    b"ends with a carriage return\r",
    b"tab\there, \"quotes\" and C:\\path\\new",
    "gr\u00f6\u00dfe \U0001f600 \u2028 \u0085 e\u0301".encode(),
    b"\x00\x01\x08\x0b\x0c\x1b[31mred\x1b[0m\x7f",
    b"  leading and trailing blanks  ",
    b"{\"looks\": \"like a record\"}",
    b"x" * 5000,
]
# No UTF-8: a byte that begins nothing, characters that are cut short, an overlong one, half a surrogate pair, tails.
NO_UTF8 = [b"a\xffz", b"a\xe2\x82z", b"a\xf0\x9f\x98", b"\xe2\x82\xe2\x82\xac", b"\xc0\xaf", b"a\xed\xa0\x80z", b"\x80\x80\r"]


def client(service, **keys):
    return boto3.client(service, **{**KEYS, **keys})


s3, sns, sqs, table, sts, iam = (client(name) for name in ("s3", "sns", "sqs", "dynamodb", "sts", "iam"))


def check(name, holds, detail=""):
    print(("ok   " if holds else "FAIL ") + name, detail if not holds else "", flush=True)
    if not holds:
        sys.exit(1)


def customer(service, role):
    """A service as the customer's account sees it: moto keeps the account of an assumed role apart."""
    keys = sts.assume_role(RoleArn=f"arn:aws:iam::{CUSTOMER}:role/{role}", RoleSessionName="tester")["Credentials"]
    return client(
        service,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **it} for it in statements]})


def create_roles():
    """The central role, which passes on whose logs it delivers, and the customer's, which asks for that."""
    actions = ["sts:AssumeRole", "sts:TagSession"]
    tagged = {"StringLike": {"aws:RequestTag/tenant_id": "*", "aws:RequestTag/cluster_id": "*"}}
    root = {"AWS": f"arn:aws:iam::{CENTRAL}:root"}
    trust = policy({"Principal": root, "Action": actions, "Condition": tagged})
    central = iam.create_role(RoleName="central", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    may = policy(
        {"Action": actions, "Resource": "arn:aws:iam::*:role/delivery"},
        {"Action": ["s3:GetObject", "s3:PutObject"], "Resource": "*"},
    )
    iam.put_role_policy(RoleName="central", PolicyName="delivery", PolicyDocument=may)

    asked = {"StringEquals": {"sts:ExternalId": CENTRAL, "aws:PrincipalTag/tenant_id": "acme"}}
    trust = policy({"Principal": {"AWS": central}, "Action": actions, "Condition": asked})
    owners_iam = customer("iam", "OrganizationAccountAccessRole")
    delivery = owners_iam.create_role(RoleName="delivery", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    may = policy({"Action": "logs:*", "Resource": f"arn:aws:logs:*:{CUSTOMER}:log-group:{GROUP}*"})
    owners_iam.put_role_policy(RoleName="delivery", PolicyName="logs", PolicyDocument=may)
    return central, delivery


CENTRAL_ROLE, DELIVERY_ROLE = create_roles()


def set_up():
    s3.create_bucket(Bucket="central-logs")
    queue = sqs.create_queue(QueueName="notifications", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name="objects")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    s3.put_bucket_notification_configuration(
        Bucket="central-logs",
        NotificationConfiguration={"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]},
    )
    table.create_table(
        TableName="tenant-configurations",
        KeySchema=[{"AttributeName": "tenant_id", "KeyType": "HASH"}, {"AttributeName": "type", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "tenant_id", "AttributeType": "S"},
            {"AttributeName": "type", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    row = {
        "tenant_id": {"S": "acme"},
        "type": {"S": "cloudwatch"},
        "log_distribution_role_arn": {"S": DELIVERY_ROLE},
        "log_group_name": {"S": GROUP},
        "target_region": {"S": REGION},
    }
    table.put_item(TableName="tenant-configurations", Item=row)
    s3.create_bucket(Bucket="acme-logs")
    copies = {"tenant_id": {"S": "acme"}, "type": {"S": "s3"}, "bucket_name": {"S": "acme-logs"}}
    copies["desired_logs"] = {"L": [{"S": "copied app"}]}
    table.put_item(TableName="tenant-configurations", Item=copies)
    off = {**row, "tenant_id": {"S": "off"}, "enabled": {"BOOL": False}}
    table.put_item(TableName="tenant-configurations", Item=off)
    return queue, dead


def record(timestamp, message):
    """A line of JSON whose message is these bytes, UTF-8 or not."""
    # Latin-1 makes a character of each byte; only what JSON wants escaped is.
    text = json.dumps(message.decode("latin-1"), ensure_ascii=False).encode("latin-1")
    return b'{"timestamp":%d,"message":%b,"pod_name":"p"}' % (timestamp, text)


def put(key, messages, first, array=False):
    """Writes an object of messages, a millisecond apart."""
    records = [record(first + at, message) for at, message in enumerate(messages)]
    text = b"[" + b",".join(records) + b"]" if array else b"\n".join(records) + b"\n"
    s3.put_object(Bucket="central-logs", Key=key, Body=gzip.compress(text), ContentEncoding="gzip")


def corpus():
    """The files' lines by the files' names, as bytes: nothing but a newline ends a line."""
    files = sorted(CORPUS.glob("*.log"))
    if not files:
        print(f"no corpus at {CORPUS}: lines that are built in take its place", flush=True)
        return {"built-in": BUILT_IN}
    # An empty message is dropped by a rule, and would not come back.
    return {file.stem: [line for line in file.read_bytes().split(b"\n") if line] for file in files}


def daemon(*args, env=None, **options):
    settings = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": ENDPOINT,
        "AWS_S3_USE_PATH_STYLE": "true",
        "CENTRAL_LOG_DISTRIBUTION_ROLE_ARN": CENTRAL_ROLE,
        **(env or {}),
    }
    return subprocess.Popen([BINARY, *args], env=settings, text=True, stdin=subprocess.PIPE, **options)


def manual(body):
    run = daemon("manual", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = run.communicate(body, timeout=120)
    return run.returncode, out, err


def notification(*keys):
    records = [{"s3": {"bucket": {"name": "central-logs"}, "object": {"key": key}}} for key in keys]
    return json.dumps({"Message": json.dumps({"Records": records})})


def arrived(stream):
    """The messages of a stream, as bytes."""
    logs, events, token = customer("logs", "reader"), [], None
    while True:
        page = logs.get_log_events(
            logGroupName=GROUP, logStreamName=stream, startFromHead=True, **({"nextToken": token} if token else {})
        )
        events += [event["message"].encode() for event in page["events"]]
        if page["nextForwardToken"] == token or not page["events"]:
            return events
        token = page["nextForwardToken"]


def main():
    queue, dead = set_up()
    now = int(time.time() * 1000)
    sent = corpus()
    for number, (pod, lines) in enumerate(sent.items()):
        put(f"acme/c1/api/{pod}/1.json.gz", lines, now - 60_000_000, array=number % 2 == 0)

    # Mode sqs: everything that S3 notified, through SNS and SQS.
    run = daemon(
        "sqs",
        env={"SQS_QUEUE_URL": queue, "DLQ_URL": dead, "SQS_WAIT": "1s", "LINGER": "100ms", "COMPRESS": "on"},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while True:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        if all(counts[name] == "0" for name in names):
            break
        if time.monotonic() > deadline or run.poll() is not None:
            check("the queue drains in time", False, f"{counts} {run.poll()}")
        time.sleep(0.2)
    run.send_signal(signal.SIGTERM)
    check("sqs ends with 0 on SIGTERM", run.wait(timeout=60) == 0, str(run.returncode))
    for pod, lines in sent.items():
        got = arrived(pod)
        check(f"{pod}: {len(lines)} lines arrived byte for byte", got == lines, f"{len(got)} arrived")

    # Mode manual: the same promise, exit codes and texts.
    for pod, lines in [("manual-odd", BUILT_IN + [b"two\nlines"]), ("manual-file", next(iter(sent.values())))]:
        put(f"acme/c1/api/{pod}/1.json.gz", lines, now - 60_000_000)
        code, out, err = manual(notification(f"acme/c1/api/{pod}/1.json.gz"))
        delivered = code == 0 and f"delivered {len(lines)} events" in out
        check(f"manual delivers {pod} and ends with 0", delivered, f"{code} {out} {err}")
        got = arrived(pod)
        check(f"{pod}: {len(lines)} lines arrived byte for byte", got == lines, f"{len(got)} arrived")
    # What is no UTF-8 cannot be sent as it is: each part that is none becomes U+FFFD, as Python has it too.
    put("acme/c1/api/no-utf8/1.json.gz", NO_UTF8, now)
    code, out, err = manual(notification("acme/c1/api/no-utf8/1.json.gz"))
    wanted = [message.decode(errors="replace").encode() for message in NO_UTF8]
    check("what is no UTF-8 becomes U+FFFD", code == 0 and arrived("no-utf8") == wanted, f"{err} {arrived('no-utf8')}")
    key = "acme/secret-cluster/copied app/p+ö/a file.json.gz"
    put(key, [b"x"], now)
    code, out, err = manual(notification(urllib.parse.quote_plus(key, safe="/")))
    check("manual delivers both rows", code == 0 and "delivered 1 events of 2 object deliveries" in out, f"{code} {out} {err}")
    copy = s3.get_object(Bucket="acme-logs", Key="ROSA/cluster-logs/acme/copied app/p+ö/a file.json.gz")
    source = s3.get_object(Bucket="central-logs", Key=key)["Body"].read()
    check("the copy is the object", copy["Body"].read() == source and copy["ContentEncoding"] == "gzip", str(copy))
    names = {"tenant-id", "application", "pod-name", "delivery-timestamp"}
    check("the copy has its own metadata", set(copy["Metadata"]) == names, str(copy["Metadata"]))
    put("off/c1/api/p/1.json.gz", [b"x"], now)
    code, out, err = manual(notification("off/c1/api/p/1.json.gz"))
    check("a disabled tenant is no failure", code == 0 and "tenant off is disabled" in out, f"{code} {out} {err}")
    code, out, err = manual(notification("nobody/c1/api/p/1.json.gz"))
    check("an unknown tenant fails", code == 1 and "tenant nobody is unknown" in err, f"{code} {err}")
    code, out, err = manual("not json")
    check("a bad envelope fails", code == 1 and "the body is no JSON" in err, f"{code} {err}")
    code, out, err = manual("")
    check("empty input fails", code == 1 and "standard input is empty" in err, f"{code} {err}")
    code, out, err = manual(notification("acme/c1/api/p/missing.json.gz"))
    check("a missing object fails", code == 1 and "object_missing" in err, f"{code} {err}")

    # Whose roles these were: the central one without an ExternalId, the customer's with the central account as it.
    assumed = {
        (role.role_arn, role.external_id)
        for account in (CENTRAL, CUSTOMER)
        for role in get_backend("sts")[account]["aws"].assumed_roles
        if role.session_name.startswith("millrace-")
    }
    created = {(CENTRAL_ROLE, None), (DELIVERY_ROLE, CENTRAL)}
    check("the roles are those that were created", assumed == created, str(assumed))


if __name__ == "__main__":
    main()
