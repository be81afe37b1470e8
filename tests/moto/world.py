"""Starts a moto server, sets it up, runs the daemon's binary against it, and compares what arrived with what was sent.

usage: world.py BINARY CORPUS_DIR
Prints one line per check and exits with 1 at the first that fails. Messages are real log lines: what comes back must be
what went in, byte for byte.
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
from moto.server import ThreadedMotoServer

BINARY, CORPUS = sys.argv[1], pathlib.Path(sys.argv[2])
SERVER = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
SERVER.start()
ENDPOINT = "http://{}:{}".format(*SERVER.get_host_and_port())
REGION = "us-east-1"
CENTRAL_ROLE = "arn:aws:iam::123456789012:role/central"
GROUP = "/customer/logs"
KEYS = dict(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION, endpoint_url=ENDPOINT)
CUSTOMER = "222222222222"


def client(service, **keys):
    return boto3.client(service, **{**KEYS, **keys})


s3, sns, sqs, table, sts = (client(name) for name in ("s3", "sns", "sqs", "dynamodb", "sts"))


def check(name, holds, detail=""):
    print(("ok   " if holds else "FAIL ") + name, detail if not holds else "", flush=True)
    if not holds:
        sys.exit(1)


def customer_logs():
    """CloudWatch Logs as the customer sees it: moto keeps the account of an assumed role apart."""
    keys = sts.assume_role(RoleArn=f"arn:aws:iam::{CUSTOMER}:role/delivery", RoleSessionName="reader")["Credentials"]
    return client(
        "logs",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


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
        "log_distribution_role_arn": {"S": f"arn:aws:iam::{CUSTOMER}:role/delivery"},
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


def put(key, records, array=False):
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    text = "[" + ",".join(lines) + "]" if array else "\n".join(lines) + "\n"
    s3.put_object(Bucket="central-logs", Key=key, Body=gzip.compress(text.encode()), ContentEncoding="gzip")


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
    logs, events, token = customer_logs(), [], None
    while True:
        page = logs.get_log_events(
            logGroupName=GROUP, logStreamName=stream, startFromHead=True, **({"nextToken": token} if token else {})
        )
        events += [event["message"] for event in page["events"]]
        if page["nextForwardToken"] == token or not page["events"]:
            return events
        token = page["nextForwardToken"]


def main():
    queue, dead = set_up()
    now = int(time.time() * 1000)
    sent = {}
    for number, file in enumerate(sorted(CORPUS.glob("*.log"))):
        lines = file.read_bytes().decode("utf-8", errors="replace").splitlines()
        lines = [line for line in lines if line]
        pod = file.stem
        records = [{"timestamp": now - 60_000_000 + at, "message": line, "pod_name": pod} for at, line in enumerate(lines)]
        put(f"acme/c1/api/{pod}/1.json.gz", records, array=number % 2 == 0)
        sent[pod] = lines

    # Mode sqs: everything that S3 notified, through SNS and SQS.
    run = daemon(
        "sqs",
        env={"SQS_QUEUE_URL": queue, "DLQ_URL": dead, "SQS_WAIT": "1s", "LINGER": "100ms"},
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
        check(f"{pod}: {len(lines)} lines arrived as they were", got == lines, f"{len(got)} arrived")

    # Mode manual: exit codes and texts.
    odd = ['quote " and \\ backslash', "tab\tnew\nline", "größe 😀", "\u0001 control"]
    put("acme/c1/api/manual-0/1.json.gz", [{"timestamp": now + at, "message": text} for at, text in enumerate(odd)])
    code, out, err = manual(notification("acme/c1/api/manual-0/1.json.gz"))
    check("manual delivers and ends with 0", code == 0 and "delivered 4 events" in out, f"{code} {out} {err}")
    check("manual: texts arrived as they were", arrived("manual-0") == odd, str(arrived("manual-0")))
    key = "acme/secret-cluster/copied app/p+ö/a file.json.gz"
    put(key, [{"timestamp": now, "message": "x"}])
    code, out, err = manual(notification(urllib.parse.quote_plus(key, safe="/")))
    check("manual delivers both rows", code == 0 and "delivered 1 events of 2 object deliveries" in out, f"{code} {out} {err}")
    copy = s3.get_object(Bucket="acme-logs", Key="ROSA/cluster-logs/acme/copied app/p+ö/a file.json.gz")
    sent = s3.get_object(Bucket="central-logs", Key=key)["Body"].read()
    check("the copy is the object", copy["Body"].read() == sent and copy["ContentEncoding"] == "gzip", str(copy))
    names = {"tenant-id", "application", "pod-name", "delivery-timestamp"}
    check("the copy has its own metadata", set(copy["Metadata"]) == names, str(copy["Metadata"]))
    put("off/c1/api/p/1.json.gz", [{"message": "x"}])
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


if __name__ == "__main__":
    main()
