"""The cloud's own endpoints, below /_lifeboat: what tests and the demo need and AWS does not have.

No credentials are asked for: whoever reaches the loopback port is the test driver.
"""

import asyncio
import datetime
import json
import logging
import urllib.parse

from ministack.core.responses import request_scope

from . import (accounts, beanstalk, calls, delivery, ecs_deployments, errors, metrics, rds_front, replication, secret_rotation,
               ssm_limits, states)
from .server import REGION

_log = logging.getLogger("lifeboat.api")


class Api:
    """An ASGI application for paths below /_lifeboat."""

    def __init__(self, functions_folder):
        self._functions = functions_folder
        self._routes = {
            ("POST", "deploy"): self._deploy, ("POST", "fire"): self._fire, ("GET", "calls"): self._calls,
            ("GET", "instance"): self._instance, ("GET", "lag"): self._lag, ("POST", "account/drop"): self._drop,
            ("POST", "states"): self._states, ("GET", "execution"): self._execution,
            ("GET", "network"): self._network, ("POST", "secret"): self._in_scope(secret_rotation.control),
            ("POST", "ssm"): self._in_scope(ssm_limits.control),
            ("POST", "ecs"): self._in_scope(ecs_deployments.control),
            ("POST", "beanstalk"): self._in_scope(beanstalk.control),
            ("POST", "rds"): self._rds, ("POST", "s3"): self._s3, ("POST", "alarms"): self._alarms,
        }

    async def __call__(self, scope, receive, send):
        path = scope["path"].removeprefix("/_lifeboat/")
        route = self._routes.get((scope["method"], path))
        body = await _body(receive)
        query = dict(urllib.parse.parse_qsl(scope["query_string"].decode()))
        if route is None:
            return await _answer(send, 404, {"error": f"no {scope['method']} /_lifeboat/{path}"})
        try:
            result = await asyncio.to_thread(route, json.loads(body or b"{}") if scope["method"] == "POST" else query)
            await _answer(send, 200, result)
        except (errors.Refused, LookupError, PermissionError, ValueError) as error:
            _log.warning("%s %s: %s", scope["method"], path, error)
            await _answer(send, 400, {"error": f"{type(error).__name__}: {error}"})
        except Exception as error:      # noqa: BLE001 - the driver must see why
            _log.exception("%s %s", scope["method"], path)
            await _answer(send, 500, {"error": f"{type(error).__name__}: {error}"})
        return None

    def _deploy(self, request):
        from . import deploy        # half a second to import: assembly.warm does it after the start

        _account(request)
        request["template"] = deploy.template_path(_needed(request, "template"))
        _needed(request, "stackName")
        return deploy.deploy(request.get("region") or REGION, self._functions, request)

    def _fire(self, request):
        schedule = delivery.fire(_account(request), request.get("region") or REGION, _needed(request, "schedule"),
                                 _moment(request))
        return {"schedule": schedule["Arn"]}

    def _calls(self, query):
        return calls.of_account(_account(query), int(query.get("since", 0)))

    def _lag(self, query):
        lag = _found_instance(query).server.lag()
        if lag is None:
            raise errors.Refused(f"{query['id']} is no replica, or it or its source does not run")
        return lag

    def _instance(self, query):
        found = _found_instance(query)
        server = found.server
        password = getattr(found, "_master_user_password", None)
        return {
            "adminUrl": server.admin_url(), "host": server.address, "port": server.port, "major": server.major,
            "masterUrl": password and server.url(found.master_username, password, found.db_name or "postgres"),
            "binFolder": server.place.bin(server.major), "status": found.status, "tls": server.tls(), "log": server.log,
            "folder": server.folder, "running": server.running(),
        }

    def _rds(self, request):
        from . import rds_settings      # with moto, which takes long to import

        backend = rds_front.plane().backend(_account(request), request.get("region") or REGION)
        return rds_settings.change(backend, request)

    def _s3(self, request):
        return replication.control(_account(request), _needed(request, "bucket"), _needed(request, "replication"))

    def _states(self, request):
        account = _account(request)
        if request.get("timeScale") is not None:
            states.set_time_scale(request["timeScale"], account)
        return {"timeScale": states.time_scale(account)}

    def _execution(self, query):
        return states.describe(_account(query), query.get("region") or REGION, _needed(query, "arn"))

    @staticmethod
    def _in_scope(control):
        """A route that works in the account and region of its request."""
        def route(request):
            with request_scope(_account(request), request.get("region") or REGION):
                return control(request)

        return route

    def _network(self, query):
        from . import clients

        ec2 = clients.of(_account(query), query.get("region") or REGION).client("ec2")
        subnets = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
        vpc = subnets[0]["VpcId"]
        groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}])
        return {"vpcId": vpc, "subnetIds": [one["SubnetId"] for one in subnets],
                "securityGroupId": groups["SecurityGroups"][0]["GroupId"]}

    def _alarms(self, request):
        moment = _moment(request) or datetime.datetime.now(datetime.timezone.utc)
        return metrics.evaluate(_account(request), request.get("region") or REGION, request.get("alarm"),
                                moment.timestamp())

    def _drop(self, request):
        return accounts.drop(_account(request))


def _found_instance(query):
    name = _needed(query, "id")
    found = rds_front.plane().instance(_account(query), query.get("region") or REGION, name)
    if found is None or not hasattr(found, "server"):
        raise errors.Refused(f"no instance {name}")
    return found


def _needed(request, name):
    if not request.get(name):
        raise errors.Refused(f"`{name}` is needed")
    return request[name]


def _moment(request):
    """The time `at` of a request, or None."""
    at = request.get("at")
    return at and datetime.datetime.fromisoformat(at.replace("Z", "+00:00")).astimezone(datetime.timezone.utc)


def _account(request):
    account = str(_needed(request, "account"))
    if len(account) != 12 or not account.isdigit():
        raise errors.Refused(f"account {account}: not twelve digits")
    return account


async def _body(receive):
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _answer(send, status, value):
    body = json.dumps(value).encode()
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
