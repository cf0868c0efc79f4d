"""Deployments of ECS services: how they roll, without a container.

A service's tasks are numbers here. A new deployment is IN_PROGRESS with pending tasks, then has them running, drains the
one before, and is COMPLETED. Tests say how the next one of a service ends: `succeed`, `hold` (until `release`), `fail`. A
failing one ends as FAILED only with the circuit breaker, and is followed by a deployment of the last good revision only
with its rollback; without it, it goes on trying for ever, as on AWS. A real process that a test runs is the consumer.

Source: ECS Developer Guide, "Deploy Amazon ECS services by replacing tasks", "How the deployment circuit breaker detects
failures"; API reference of Deployment.
"""

import contextvars
import threading

import ministack.services.ecs as ecs
from ministack.core.responses import get_account_id, get_region, new_uuid, request_scope

from . import errors

_SECONDS, _HOLD_SECONDS = 0.3, 600
_HOWS = ("succeed", "hold", "fail")
_EVENTS_KEPT = 100
_lock = threading.RLock()


def _reconcile(_cluster_name, service_key):
    """After each change of a service: begin what is new, and set the numbers of what is not."""
    with _lock:
        service = ecs._services.get(service_key)
        if not service or service["status"] != "ACTIVE":
            return
        primary = ecs._primary_deployment(service)
        if primary is None:
            return
        if not primary.get("_begun"):
            _begin(service, primary)
        elif primary["rolloutState"] == "COMPLETED":
            _run_all(service, primary)
        _count(service)


def _begin(service, deployment):
    settings = _settings(service)
    deployment["_begun"], deployment["_how"] = True, settings["next"]
    settings["next"] = "succeed"
    for earlier in service["deployments"]:
        if "_end" in earlier:       # it is overtaken
            earlier["_end"].set()
    deployment |= {"rolloutState": "IN_PROGRESS", "rolloutStateReason": f"ECS deployment {deployment['id']} in progress.",
                   "pendingCount": deployment["desiredCount"], "runningCount": 0}
    _tell(service, f"(service {service['serviceName']}) has started {deployment['desiredCount']} tasks: "
                   f"(deployment {deployment['id']}).")
    end = deployment["_end"] = threading.Event()
    account, region, seconds = get_account_id(), get_region(), float(settings["seconds"])

    def run():
        end.wait(_HOLD_SECONDS if deployment["_how"] == "hold" else seconds)
        with request_scope(account, region), _lock:
            _end(service, deployment)

    threading.Thread(target=contextvars.Context().run, args=(run,), daemon=True, name="ecs-deployment").start()


def _end(service, deployment):
    """A deployment's time is over; nothing happens if a newer one took its place."""
    if ecs._primary_deployment(service) is not deployment or service["status"] != "ACTIVE":
        return
    if deployment["_how"] == "fail":
        _fail(service, deployment)
    else:
        _run_all(service, deployment)
        service["deployments"] = [deployment]
        deployment |= {"rolloutState": "COMPLETED", "rolloutStateReason": f"ECS deployment {deployment['id']} completed."}
        service["_stable"] = deployment["taskDefinition"]
        _tell(service, f"(service {service['serviceName']}) has reached a steady state.")
    deployment["updatedAt"] = ecs._iso()
    _count(service)


def _fail(service, deployment):
    breaker = (service.get("deploymentConfiguration") or {}).get("deploymentCircuitBreaker") or {}
    deployment |= {"failedTasks": max(3, deployment["desiredCount"]), "pendingCount": 0}
    _tell(service, f"(service {service['serviceName']}) is unable to consistently start tasks successfully.")
    if not breaker.get("enable"):
        return
    deployment |= {"rolloutState": "FAILED", "rolloutStateReason": "ECS deployment circuit breaker: tasks failed to start."}
    _tell(service, f"(service {service['serviceName']}) (deployment {deployment['id']}) deployment failed: tasks failed to "
                   "start.")
    if breaker.get("rollback") and service.get("_stable"):
        deployment["status"], service["taskDefinition"] = "ACTIVE", service["_stable"]
        again = ecs._make_deployment(service["_stable"], service["desiredCount"])
        again |= {name: deployment.get(name) for name in ("launchType", "capacityProviderStrategy")}
        service["deployments"].insert(0, again)
        _begin(service, again)
        again["rolloutStateReason"] = f"ECS deployment circuit breaker: rolling back to deploymentId {deployment['id']}."


def _run_all(service, deployment):
    deployment |= {"desiredCount": service["desiredCount"], "runningCount": service["desiredCount"], "pendingCount": 0}


def _count(service):
    for name in ("runningCount", "pendingCount"):
        service[name] = sum(one.get(name, 0) for one in service["deployments"])


def _tell(service, message):
    service["events"].insert(0, {"id": new_uuid(), "createdAt": ecs._iso(), "message": message})
    del service["events"][_EVENTS_KEPT:]


def _settings(service):
    return service.setdefault("_lifeboat", {"next": "succeed", "seconds": _SECONDS})


def control(request):
    """What tests ask: see the README's table. The request's account and region are set."""
    key = f"{ecs._resolve_cluster_name(request.get('cluster'))}/{request.get('service')}"
    with _lock:
        service = ecs._services.get(key)
        if service is None:
            raise errors.Refused(f"no service {key}")
        settings = _settings(service)
        how = request.get("next", settings["next"])
        if how not in _HOWS:
            raise errors.Refused(f"a deployment can {', '.join(_HOWS)}, not {how}")
        settings |= {"next": how, "seconds": float(request.get("seconds", settings["seconds"]))}
        if request.get("release") and (primary := ecs._primary_deployment(service)) and primary.get("_end"):
            primary["_end"].set()
        return {"deployments": ecs._sanitize(service["deployments"]), "events": [one["message"] for one in service["events"]],
                "runningCount": service["runningCount"]}


def service_arns(data, region, account):
    """The ARNs of the services that a request names."""
    cluster = ecs._resolve_cluster_name(data.get("cluster")) or "default"
    names = data.get("services") or [data.get("service") or data.get("serviceName")]
    return [name if name.startswith("arn:") else f"arn:aws:ecs:{region}:{account}:service/{cluster}/{name}"
            for name in names if isinstance(name, str)]


def keys(data, resource_arn, region, account):
    """IAM's condition keys of a request about services."""
    found = {}
    if "service" in data or "services" in data or "serviceName" in data:
        cluster = ecs._resolve_cluster_name(data.get("cluster")) or "default"
        found["ecs:cluster"] = f"arn:aws:ecs:{region}:{account}:cluster/{cluster}"
        if "services" not in data:
            found["ecs:service"] = resource_arn
    for tag in ecs._tags.get(resource_arn) or []:
        found[f"ecs:ResourceTag/{tag['key']}"] = found[f"aws:ResourceTag/{tag['key']}"] = tag["value"]
    return found


def install():
    """Put these in the place of MiniStack's tasks, which want Docker."""
    ecs._reconcile_service_tasks = _reconcile
    # It counts tasks, which there are none of; it would set all numbers to nothing.
    ecs._refresh_service_state = lambda _cluster_name, _group: None
