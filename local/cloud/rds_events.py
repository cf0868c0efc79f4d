"""RDS's events of instances and snapshots on EventBridge, in the account and region of what they are about.

Ids and texts: RDS User Guide, "Amazon RDS event categories and event messages". AWS documents no event for a snapshot
that fails, and delivers all of them with best effort only.
"""

import contextvars
import datetime
import json
import threading

import ministack.services.eventbridge as eventbridge
from ministack.core.responses import request_scope

_EVENTS = {
    "creating": ("creation", "RDS-EVENT-0040", "Creating manual snapshot"),
    "created": ("creation", "RDS-EVENT-0042", "Manual snapshot created"),
    "restored": ("restoration", "RDS-EVENT-0043", "Restored from snapshot {name}"),
    "deleted": ("deletion", "RDS-EVENT-0041", "Deleted manual snapshot"),
    "remote copy started": ("notification", "RDS-EVENT-0059", "Started copy of snapshot {name} from region {region}."),
    "remote copy finished": ("notification", "RDS-EVENT-0060",
                             "Finished copy of snapshot {name} from region {region} in {minutes} minutes."),
    "remote copy failed": ("notification", "RDS-EVENT-0061",
                           "Canceled snapshot copy request of {name} from region {region}."),
    "local copy started": ("notification", "RDS-EVENT-0196", "Started copy of snapshot {name} in region {region}."),
    "local copy finished": ("notification", "RDS-EVENT-0197", "Finished copy of snapshot {name} in region {region}."),
    "local copy failed": ("notification", "RDS-EVENT-0190",
                          "Canceled snapshot copy request of {name} in region {region}."),
}
_INSTANCE_EVENTS = {
    "created": ("creation", "RDS-EVENT-0005", "DB instance created"),
    "restarted": ("availability", "RDS-EVENT-0006", "DB instance restarted"),
    "password reset": ("configuration change", "RDS-EVENT-0016", "Reset master credentials"),
    "stopped": ("notification", "RDS-EVENT-0087", "DB instance stopped"),
    "started": ("notification", "RDS-EVENT-0088", "DB instance started"),
    "deleted": ("deletion", "RDS-EVENT-0003", "DB instance deleted"),
}


def emit(what, snapshot, **words):
    """Put an event of a snapshot on the default bus; does not wait for its delivery."""
    category, event_id, message = _EVENTS[what]
    _put(snapshot, "SNAPSHOT", "RDS DB Snapshot Event", category, event_id, message.format(**words))


def emit_of_instance(what, instance):
    """The same of an instance."""
    _put(instance, "DB_INSTANCE", "RDS DB Instance Event", *_INSTANCE_EVENTS[what])


def _put(about, source_type, detail_type, category, event_id, message):
    now = datetime.datetime.now(datetime.timezone.utc)
    detail = {
        "EventCategories": [category], "SourceType": source_type, "SourceArn": about.arn,
        "Date": now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z",
        "SourceIdentifier": about.resource_id, "Message": message, "EventID": event_id,
    }
    entry = {"Source": "aws.rds", "DetailType": detail_type, "Resources": [about.arn], "Detail": json.dumps(detail)}

    def put():
        with request_scope(about.account_id, about.region):
            eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)

    threading.Thread(target=contextvars.Context().run, args=(put,), daemon=True, name="rds-event").start()
