"""What becomes of a queue's messages after the function had them, as Lambda decides it.

MiniStack takes a throttled invocation for a success and deletes the messages, and takes a malformed partial answer for
a complete success. Lambda keeps the messages in both cases. Source: the Lambda developer guide, "Implementing partial
batch responses" (what is a complete success, what a complete failure).
"""

import logging
import time

import ministack.services.lambda_svc as lambda_service
import ministack.services.sqs as sqs

_log = logging.getLogger("lifeboat.batches")
_PAUSE_SECONDS = 1.0


def failed(answer, batch_ids):
    """The ids of the messages that must come again, given what the function answered."""
    everything = set(batch_ids)
    if answer is None or answer == {}:
        return set()
    if not isinstance(answer, dict):
        return everything
    failures = answer.get("batchItemFailures")
    if failures is None:
        return set()
    if not isinstance(failures, list):
        return everything
    named = [one.get("itemIdentifier") if isinstance(one, dict) else None for one in failures]
    return set(named) if all(name in everything for name in named) else everything


def _run(mapping, function, event, batch, queue_url, queue_name):
    result = lambda_service._execute_function(function, event)
    ids = [message["id"] for message in batch]
    if result.get("error") or result.get("throttle"):
        again = set(ids)
        lambda_service._esm_backoff_until[mapping["UUID"]] = time.time() + _PAUSE_SECONDS
        mapping["LastProcessingResult"] = "PROBLEM: Function call failed"
    else:
        partial = "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or [])
        again = failed(result.get("body"), ids) if partial else set()
        lambda_service._esm_backoff_until.pop(mapping["UUID"], None)
        mapping["LastProcessingResult"] = "OK"
    done = {message["receipt_handle"] for message in batch if message["id"] not in again and message["receipt_handle"]}
    if done:
        sqs._delete_messages_for_esm(queue_url, done)
    if again:       # they come again when their visibility timeout has passed
        _log.info("%s: %d of %d messages of %s come again", mapping["FunctionName"], len(again), len(ids), queue_name)


def install():
    """Replace MiniStack's function."""
    lambda_service._run_sqs_batch = _run
