"""Metrics from log lines in the embedded metric format, and alarms that mind dimensions, periods and missing data.

Source: CloudWatch User Guide, "Specification: Embedded metric format", "Configuring how CloudWatch alarms treat missing
data". Alarms are evaluated when data of theirs arrives, and whenever a test asks (`POST /_lifeboat/alarms`): no clock
runs by itself, so an alarm whose data is missing fires when somebody looks.
"""

import json
import time

import ministack.services.cloudwatch as cloudwatch
import ministack.services.cloudwatch_logs as cloudwatch_logs
from ministack.core.responses import request_scope

from . import errors

_MARK = '"CloudWatchMetrics"'
_METRICS_MAX = 100
_BREACHES = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
_ministack_append = cloudwatch_logs._append_log_events


def _append_log_events(stream, events, *arguments, **options):
    result = _ministack_append(stream, events, *arguments, **options)
    stored = set()
    for event in events:
        if _MARK in event.get("message", ""):
            stored |= _store(event["message"])
    for alarm in list(cloudwatch._alarms.values()):
        if (alarm.get("Namespace"), alarm.get("MetricName")) in stored:
            _on_data(alarm)
    return result


def _store(line):
    """Store the metrics of a line; returns the `(namespace, name)` of each."""
    try:
        root = json.loads(line)
        directives = root["_aws"]["CloudWatchMetrics"]
        moment = root["_aws"]["Timestamp"] / 1000
    except (ValueError, LookupError, TypeError):
        return set()
    stored = set()
    for directive in directives:
        for names in directive.get("Dimensions") or [[]]:
            dimensions = {name: root.get(name) for name in names}
            if not all(isinstance(value, str) and value for value in dimensions.values()):
                continue        # CloudWatch drops a set of which a value is missing
            for metric in directive.get("Metrics", [])[:_METRICS_MAX]:
                value = root.get(metric["Name"])
                values = value if isinstance(value, list) else None
                if value is None or isinstance(value, (str, bool, dict)):
                    continue
                cloudwatch._store_datum(directive["Namespace"], metric["Name"], dimensions, moment,
                                        metric.get("Unit", "None"), None if values else value, values, None, None)
                stored.add((directive["Namespace"], metric["Name"]))
    return stored


def _points(alarm, since, until):
    """The alarm's own points in this time: those with exactly its dimensions."""
    key = (alarm.get("Namespace"), alarm.get("MetricName"),
           cloudwatch._dims_key(cloudwatch._dims_from_list(alarm.get("Dimensions") or [])))
    return [point for point in cloudwatch._metrics.get(key) or [] if since < point["Timestamp"] <= until]


def judge(alarm, now):
    """`(state, reason)` of an alarm at this time; None for what is not a plain metric alarm."""
    breaches = _BREACHES.get(alarm.get("ComparisonOperator"))
    if breaches is None or not alarm.get("MetricName"):
        return None
    period, count = int(alarm.get("Period") or 60), int(alarm.get("EvaluationPeriods") or 1)
    needed = int(alarm.get("DatapointsToAlarm") or count)
    name, threshold = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average", alarm.get("Threshold", 0)
    values = []
    for number in range(count):
        points = _points(alarm, now - (number + 1) * period, now - number * period)
        values.append(cloudwatch._stat_value(cloudwatch._calc_stats(points), name, points) if points else None)
    present = [value for value in values if value is not None]
    bad, missing = sum(breaches(value, threshold) for value in present), count - len(present)
    treat = alarm.get("TreatMissingData") or "missing"
    if treat == "breaching":
        bad += missing
    elif treat != "notBreaching":
        if not present:
            return ("INSUFFICIENT_DATA" if treat == "missing" else alarm["StateValue"]), "no data"
        needed = min(needed, len(present))
    reason = (f"Threshold Crossed: {bad} of the last {count} periods, {missing} of them without data treated as {treat}, "
              f"against {needed} datapoints to alarm ({name} {alarm['ComparisonOperator']} {threshold}): "
              f"{[value for value in values if value is not None]}")
    return ("ALARM" if bad >= needed else "OK"), reason


def _apply(alarm, judged):
    state, reason = judged
    old = alarm["StateValue"]
    if state != old:
        alarm["StateValue"], alarm["StateReason"], alarm["StateUpdatedTimestamp"] = state, reason, int(time.time())
        cloudwatch._record_history(alarm["AlarmName"], old, state, reason)
        cloudwatch._dispatch_alarm_actions(alarm, old, state, reason)
        cloudwatch._evaluate_parent_alarms(alarm)


def _on_data(alarm):
    """An evaluation because data came; without any data of the alarm's own it stays as it is."""
    now = time.time()
    judged = judge(alarm, now)
    span = int(alarm.get("Period") or 60) * int(alarm.get("EvaluationPeriods") or 1)
    if judged and _points(alarm, now - span, now):
        _apply(alarm, judged)


def evaluate(account, region, name, moment):
    """Evaluate one alarm or all as of this time, missing data too; answers their states."""
    with request_scope(account, region):
        alarms = [alarm for alarm in list(cloudwatch._alarms.values()) if name in (None, alarm["AlarmName"])]
        if name is not None and not alarms:
            raise errors.Refused(f"no alarm {name}")
        for alarm in alarms:
            if judged := judge(alarm, moment):
                _apply(alarm, judged)
        return {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms}


def install():
    """Read log lines, and replace MiniStack's evaluation of alarms."""
    cloudwatch_logs._append_log_events = _append_log_events
    cloudwatch._evaluate_alarm = _on_data
