"""Elastic Beanstalk as far as a consumer of secrets needs it: applications, environments, their restarts and events.

Nothing runs: an environment is a state. RestartAppServer and UpdateEnvironment make it Updating, then Ready again, with the
events that AWS writes; an operation while it is not Ready is refused. Tests say how the next operation ends: `succeed`,
`hold` (until `release`), `fail`.

Source: API reference of CreateEnvironment, DescribeEnvironments, RestartAppServer, UpdateEnvironment, DescribeEvents; Service
Authorization Reference, "Actions, resources, and condition keys for AWS Elastic Beanstalk". MiniStack has none of it.
"""

import contextvars
import datetime
import secrets
import threading
from xml.sax.saxutils import escape

import ministack.app as app
import ministack.core.iam_actions as actions
import ministack.core.router as router
from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region, new_uuid, request_scope

from . import errors

_SERVICE, _NAMESPACE = "elasticbeanstalk", "http://elasticbeanstalk.amazonaws.com/docs/2010-12-01/"
_SECONDS, _HOLD_SECONDS = 0.3, 600
_EVENTS_KEPT = 1000
_HOWS = ("succeed", "hold", "fail")
_applications = AccountRegionScopedDict()
_environments = AccountRegionScopedDict()
_events = AccountRegionScopedDict()
_lock = threading.RLock()


class _Refused(Exception):
    def __init__(self, message, code="InvalidParameterValue"):
        super().__init__(message)
        self.code = code


def _now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _arn(kind, name):
    return f"arn:aws:{_SERVICE}:{get_region()}:{get_account_id()}:{kind}/{name}"


def _find(given):
    """The environment that is meant, by name or id, which is not terminated."""
    name, identifier = given.get("EnvironmentName"), given.get("EnvironmentId")
    if not name and not identifier:
        raise _Refused("Either EnvironmentId or EnvironmentName must be specified.", "MissingParameter")
    for one in _environments.values():
        if one["EnvironmentName"] == name or one["EnvironmentId"] == identifier:
            return one
    raise _Refused(f"No Environment found for {'EnvironmentName' if name else 'EnvironmentId'} = '{name or identifier}'.")


def _tell(environment, message, severity="INFO"):
    _events.setdefault("all", []).insert(0, {
        "EventDate": _now(), "Message": message, "ApplicationName": environment["ApplicationName"],
        "EnvironmentName": environment["EnvironmentName"], "RequestId": new_uuid(), "Severity": severity})
    del _events["all"][_EVENTS_KEPT:]


def _work(environment, status, begin, end):
    """Be in this state for a while, then Ready or Terminated."""
    settings = environment["_lifeboat"]
    how, settings["next"] = settings["next"], "succeed"
    environment |= {"Status": status, "DateUpdated": _now(), "AbortableOperationInProgress": "false"}
    _tell(environment, begin)
    done = settings["end"] = threading.Event()
    account, region, seconds = get_account_id(), get_region(), float(settings["seconds"])

    def run():
        done.wait(_HOLD_SECONDS if how == "hold" else seconds)
        with request_scope(account, region), _lock:
            if _environments.get(environment["EnvironmentId"]) is not environment:
                return
            if status == "Terminating":
                _environments.pop(environment["EnvironmentId"])
            failed = how == "fail"
            environment.update({"Status": "Ready", "Health": "Red" if failed else "Green", "DateUpdated": _now(),
                                "HealthStatus": "Severe" if failed else "Ok"})
            _tell(environment, "Failed to deploy application." if failed else end, "ERROR" if failed else "INFO")

    threading.Thread(target=contextvars.Context().run, args=(run,), daemon=True, name="beanstalk").start()


def _ready(environment):
    if environment["Status"] != "Ready":
        raise _Refused(f"Environment named {environment['EnvironmentName']} is in an invalid state for this operation. Must "
                       "be Ready.")
    return environment


def _create_application(given):
    name = given.get("ApplicationName")
    if name in _applications:
        raise _Refused(f"Application {name} already exists.")
    _applications[name] = {"ApplicationArn": _arn("application", name), "ApplicationName": name, "DateCreated": _now(),
                           "DateUpdated": _now(), "Description": given.get("Description", "")}
    return {"Application": _applications[name]}


def _create_environment(given):
    application = given.get("ApplicationName")
    name = given.get("EnvironmentName") or f"{application}-{secrets.token_hex(3)}"
    if application not in _applications:
        raise _Refused(f"No Application named '{application}' found.")
    if any(one["EnvironmentName"] == name for one in _environments.values()):
        raise _Refused(f"Environment {name} already exists.")
    identifier = "e-" + secrets.token_hex(5)
    environment = _environments[identifier] = {
        "EnvironmentName": name, "EnvironmentId": identifier, "ApplicationName": application,
        "EnvironmentArn": _arn("environment", f"{application}/{name}"), "DateCreated": _now(), "Health": "Grey",
        "HealthStatus": "Pending", "CNAME": f"{name}.{get_region()}.elasticbeanstalk.com",
        "_settings": _settings_of(given), "_tags": _members(given, "Tags.member.", "Key", "Value"),
        "_lifeboat": {"next": "succeed", "seconds": _SECONDS, "end": None}}
    for key in ("SolutionStackName", "PlatformArn", "VersionLabel", "Description"):
        if given.get(key):
            environment[key] = given[key]
    _work(environment, "Launching", "createEnvironment is starting.", f"Successfully launched environment: {name}")
    return environment


def _settings_of(given):
    return {(one.get("Namespace"), one.get("OptionName")): one.get("Value")
            for one in _listed(given, "OptionSettings.member.")}


def _describe_environments(given):
    """Environments, and what each of the filters of a request leaves of them."""
    shown = list(_environments.values())
    if application := given.get("ApplicationName"):
        shown = [one for one in shown if one["ApplicationName"] == application]
    for parameter, key in (("EnvironmentNames", "EnvironmentName"), ("EnvironmentIds", "EnvironmentId")):
        wanted = [value for name, value in given.items() if name.startswith(f"{parameter}.member.")]
        shown = [one for one in shown if one[key] in wanted] if wanted else shown
    return {"Environments": shown}


def _restart_app_server(given):
    environment = _ready(_find(given))
    _work(environment, "Updating", "restartAppServer is starting.", "Successfully restarted application container(s).")
    return None


def _update_environment(given):
    environment = _ready(_find(given))
    changed = _settings_of(given)
    environment["_settings"] |= changed
    for key in ("VersionLabel", "Description"):
        if given.get(key):
            environment[key] = given[key]
    _work(environment, "Updating", "Environment update is starting.", "Environment update completed successfully.")
    return environment


def _terminate_environment(given):
    environment = _find(given)
    _work(environment, "Terminating", "terminateEnvironment is starting.", "terminateEnvironment completed successfully.")
    return environment


def _describe_settings(given):
    environment = _find(given)
    options = [{"Namespace": space, "OptionName": name, "Value": value}
               for (space, name), value in sorted(environment["_settings"].items())]
    return {"ConfigurationSettings": [{**{key: environment.get(key) for key in ("ApplicationName", "EnvironmentName")},
                                       "DeploymentStatus": "deployed", "OptionSettings": options}]}


def _describe_events(given):
    shown = [one for one in _events.get("all", [])
             if all(one.get(key) == given[key] for key in ("ApplicationName", "EnvironmentName") if given.get(key))
             and one["EventDate"] >= given.get("StartTime", "")]
    return {"Events": shown[:int(given.get("MaxRecords") or _EVENTS_KEPT)]}


_CALLS = {"CreateApplication": _create_application, "CreateEnvironment": _create_environment,
          "DescribeEnvironments": _describe_environments, "RestartAppServer": _restart_app_server,
          "UpdateEnvironment": _update_environment, "TerminateEnvironment": _terminate_environment,
          "DescribeConfigurationSettings": _describe_settings, "DescribeEvents": _describe_events}


def _listed(given, prefix):
    """The members of a list of structures, in order."""
    found = {}
    for name, value in given.items():
        if name.startswith(prefix):
            number, _, key = name.removeprefix(prefix).partition(".")
            found.setdefault(int(number), {})[key] = value
    return [found[number] for number in sorted(found)]


def _members(given, prefix, key, value):
    return {one.get(key): one.get(value) for one in _listed(given, prefix)}


def _xml(value):
    if isinstance(value, dict):
        return "".join(f"<{name}>{_xml(one)}</{name}>" for name, one in value.items()
                       if one is not None and not name.startswith("_"))
    if isinstance(value, list):
        return "".join(f"<member>{_xml(one)}</member>" for one in value)
    return escape(str(value))


async def _handle_request(_method, _path, headers, body, query_params):
    given = _parameters(app._routing_params("POST", "/", headers, body, query_params))
    action = given.get("Action", "")
    identifier = f"<ResponseMetadata><RequestId>{new_uuid()}</RequestId></ResponseMetadata>"
    try:
        if action not in _CALLS:
            raise _Refused(f"The local cloud has no {action}.", "InvalidAction")
        with _lock:
            result = _CALLS[action](given)
            shown = "" if result is None else f"<{action}Result>{_xml(result)}</{action}Result>"
    except _Refused as refused:
        error = f"<Error><Type>Sender</Type><Code>{refused.code}</Code><Message>{escape(str(refused))}</Message></Error>"
        text = f'<ErrorResponse xmlns="{_NAMESPACE}">{error}<RequestId>{new_uuid()}</RequestId></ErrorResponse>'
        return 400, {"Content-Type": "text/xml"}, text.encode()
    return 200, {"Content-Type": "text/xml"}, (
        f'<{action}Response xmlns="{_NAMESPACE}">{shown}{identifier}</{action}Response>').encode()


def _parameters(query):
    return {name: value[0] if isinstance(value, list) else value for name, value in query.items()}


def named(request, region, account):
    """ARNs of what a request is authorised on."""
    given, base = _parameters(request.query), f"arn:aws:{_SERVICE}:{region}:{account}"
    found = None
    with request_scope(account, region):
        for one in _environments.values():
            if given.get("EnvironmentName") == one["EnvironmentName"] or given.get("EnvironmentId") == one["EnvironmentId"]:
                found = one
    if found is not None:
        return [found["EnvironmentArn"]]
    application, environment = given.get("ApplicationName"), given.get("EnvironmentName")
    names = [value for name, value in given.items() if name.startswith("EnvironmentNames.member.")]
    if names and given.get("Action") == "DescribeEnvironments":
        with request_scope(account, region):
            known = {one["EnvironmentName"]: one["EnvironmentArn"] for one in _environments.values()}
        return [known.get(name, f"{base}:environment/{application or '*'}/{name}") for name in names]
    if environment:
        return [f"{base}:environment/{application or '*'}/{environment}"]
    return [f"{base}:application/{application}"] if application else ["*"]


def keys(_request, resource_arn):
    """IAM's condition keys: the application an environment is in, and its tags."""
    parts = resource_arn.split(":", 5)
    if len(parts) < 6 or not parts[5].startswith("environment/"):
        return {}
    with request_scope(parts[4], parts[3]):
        application = _arn("application", parts[5].split("/")[1])
        tags = next((one["_tags"] for one in _environments.values() if one["EnvironmentArn"] == resource_arn), {})
    return {"elasticbeanstalk:InApplication": application} | {f"aws:ResourceTag/{key}": value for key, value in tags.items()}


def control(request):
    """What tests ask: see the README's table. The request's account and region are set."""
    with _lock:
        try:
            environment = _find({"EnvironmentName": request.get("environment")})
        except _Refused as refused:
            raise errors.Refused(str(refused)) from refused
        settings = environment["_lifeboat"]
        how = request.get("next", settings["next"])
        if how not in _HOWS:
            raise errors.Refused(f"an operation can {', '.join(_HOWS)}, not {how}")
        settings |= {"next": how, "seconds": float(request.get("seconds", settings["seconds"]))}
        if request.get("release"):
            settings["end"].set()
        messages = [one["Message"] for one in _events.get("all", [])
                    if one["EnvironmentName"] == environment["EnvironmentName"]]
        return {"status": environment["Status"], "health": environment["Health"], "events": messages}


def install():
    """Make MiniStack route the service here, after its check of signature and permission."""
    router.SERVICE_PATTERNS[_SERVICE] = {"host_patterns": [r"elasticbeanstalk\."]}
    actions.SERVICE_TO_IAM_NAMESPACE[_SERVICE] = _SERVICE
    actions._SERVICE_PROTOCOL[_SERVICE] = "query-xml"
    actions._QUERY_XML_NS[_SERVICE] = _NAMESPACE
    app.SERVICE_HANDLERS[_SERVICE] = _handle_request
