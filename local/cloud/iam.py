"""IAM as AWS enforces it, where MiniStack's enforcement falls short of what Lifeboat relies on.

Joined to MiniStack at three functions of its evaluator: what a request is about (`extract_resource_arn`), whether it
is allowed (`enforce`), how a denial reads (`access_denied_response`). Every decision is recorded (calls.py).
"""

import contextvars
import re

import ministack.app as app
import ministack.core.iam_actions as actions
import ministack.core.iam_evaluator as evaluator
from ministack.core.responses import get_account_id

from . import calls, kms_implied, rds_resources, request, request_keys, resources

_ministack_resource = actions.extract_resource_arn
_ministack_enforce = evaluator.enforce
_ministack_denied = actions.access_denied_response
_ministack_pin_origin = evaluator.pin_request_origin
_ministack_s3_context = actions.s3_service_context
_last_named = contextvars.ContextVar("lifeboat_denied", default=None)
_NAMESPACE = re.compile(rb'"Namespace"\s*:\s*"([^"]+)"|(?:^|&)Namespace=([^&]+)')
_NAMESPACE_CBOR = re.compile(rb"iNamespace(?:[\x60-\x77]|\x78.)([A-Za-z0-9/_.#:-]+)")


def _extract_resource_arn(service, method, path, headers, body, query_params, region, account_id):
    request.remember(service, method, path, headers, body, query_params)
    named = resources.named(request.current(), region, account_id)
    if named:
        return named[0]
    return _ministack_resource(service, method, path, headers, body, query_params, region, account_id)


def _metric_namespace(body):
    found = _NAMESPACE.search(body) or _NAMESPACE_CBOR.search(body)
    return next(group for group in found.groups() if group).decode() if found else None


def _s3_context(iam_action, query_params, path="", headers=None):
    """Add the condition keys of conditional writes: absent means that the request has no such header."""
    context = dict(_ministack_s3_context(iam_action, query_params, path, headers))
    headers = headers or {}
    if iam_action == "s3:PutObject":
        current = request.current()
        method = current.method if current else "PUT"
        query = query_params or {}
        if headers.get("if-none-match"):
            context["s3:if-none-match"] = headers["if-none-match"]
        if headers.get("if-match"):
            context["s3:if-match"] = headers["if-match"]
        # True where an object comes into being: PutObject, CopyObject, CompleteMultipartUpload; false for the
        # start and the parts of a multipart upload, which cannot carry If-None-Match.
        creates = (method == "POST" and "uploadId" in query) or (method == "PUT" and "uploadId" not in query)
        context["s3:ObjectCreationOperation"] = str(creates).lower()
    return context


def _enforce(access_key_id, iam_action, service, region, resource_arn="*", service_context=None):
    context = dict(service_context or {})
    current = request.current()
    if iam_action == "cloudwatch:PutMetricData" and current and (namespace := _metric_namespace(current.body)):
        context["cloudwatch:namespace"] = namespace
    if service == "rds" and current and current.service == service:
        return _enforce_rds(access_key_id, iam_action, region, context, current)
    if current and current.service == service:
        context |= request_keys.of_request(current, resource_arn)
    denied = decide(access_key_id, iam_action, service, region, resource_arn, context)
    if denied or current is None or current.service != service:
        return denied
    named = resources.named(current, region, get_account_id())
    if resource_arn in named[:1]:
        for other in named[1:]:
            keys = context | request_keys.of_request(current, other)
            if denied := decide(access_key_id, iam_action, service, region, other, keys):
                return _naming(denied, iam_action, other)
    for action, arn in request_keys.implied(iam_action, current, resource_arn):
        if denied := decide(access_key_id, action, action.split(":")[0], region, arn, {}):
            return _naming(denied, action, arn)
    if evaluator._is_root_key(access_key_id or ""):
        return None
    for key_action, key_arn, key_context in kms_implied.checks(iam_action, resource_arn, current, region):
        if denied := decide(access_key_id, key_action, "kms", region, key_arn, key_context):
            return _naming(denied, key_action, key_arn)
    return None


def _enforce_rds(access_key_id, iam_action, region, context, current):
    account = get_account_id()
    checks = [(iam_action, arn) for arn in rds_resources.named(current, region, account)]
    for action, arn in [*checks, *rds_resources.implied(current, region, account)]:
        keys = context | rds_resources.context(arn, account, context)
        if denied := decide(access_key_id, action, "rds", rds_resources.region_of(arn, region), arn, keys):
            return _naming(denied, action, arn)
    return None


def decide(access_key_id, action, service, region, resource_arn, context):
    """One decision, recorded."""
    result = _ministack_enforce(access_key_id, action, service, region, resource_arn=resource_arn,
                                service_context=context)
    if isinstance(result, evaluator.AuthError):
        return result
    account = get_account_id()
    if result is None:
        principal = evaluator.resolve_principal(access_key_id or "", account)
        arn = getattr(principal, "arn", "") or f"arn:aws:iam::{account}:root"
    else:
        arn = result.principal_arn
    calls.record(account, arn, action, resource_arn, result is None, access_key_id or "")
    return result


def _naming(denied, action, resource_arn):
    """Make a denial of an implied permission name that permission, not the request's own."""
    if isinstance(denied, evaluator.EvalResult):
        _last_named.set((denied.principal_arn, action, resource_arn))
    return denied


def _access_denied(service, action, principal_arn, request_id, *, error_code="", message="", headers=None,
                   resource_arn="*", explicit_deny=False, resource_policy_arn=""):
    """AWS's usual text always names the resource; MiniStack leaves it out for most services."""
    named = _last_named.get()
    _last_named.set(None)
    code, status = error_code, None
    if named and named[0] == principal_arn:
        action, resource_arn, resource_policy_arn = named[1], named[2], ""
        if service == "sns":
            code, status = "KMSAccessDenied", 400
    if not message and not error_code:
        if explicit_deny and resource_policy_arn:
            message = (f"User: {principal_arn} is not authorized to perform: {action} on resource: "
                       f'"{resource_arn}" with an explicit deny in a resource-based policy')
        else:
            shown = f'"{resource_arn}"' if action.startswith("s3:") else resource_arn
            message = actions.identity_denial_message(action, principal_arn, shown, explicit_deny)
    answer = _ministack_denied(service, action, principal_arn, request_id, error_code=code, message=message,
                               headers=headers, resource_arn=resource_arn, explicit_deny=explicit_deny,
                               resource_policy_arn=resource_policy_arn)
    return answer if status is None else (status, *answer[1:])


def role_may(role_arn, action, resource_arn, region, source, context=None):
    """Whether a service that acts with this role may do that; recorded like a call.

    Services inside MiniStack deliver to each other without credentials; where AWS uses a role, so do we.
    """
    from ministack.services import iam as iam_service

    parts = role_arn.split(":", 5)
    if len(parts) != 6 or not parts[5].startswith("role/"):
        return False
    account, name = parts[4], parts[5].rsplit("/", 1)[-1]
    if iam_service._roles.get_scoped(account, None, name) is None:
        calls.record(account, role_arn, action, resource_arn, False, source=source)
        return False
    policies = evaluator._gather_role_policies(name, account)
    checked = evaluator.EvalContext(principal_arn=f"arn:aws:sts::{account}:assumed-role/{name}/{source}",
                                    principal_type="AssumedRole", principal_account=account, action=action,
                                    resource_arn=resource_arn, region=region, secure_transport=True,
                                    service_context={key.lower(): value for key, value in (context or {}).items()})
    limits = evaluator._permissions_boundary(iam_service._roles, name, account)
    result = evaluator.evaluate(checked, policies, *limits)
    found = evaluator._resource_policy(action.split(":")[0], resource_arn)
    if found is not None:
        result = evaluator.combine_resource_policy(result, checked, *found, required=action.startswith("kms:"),
                                                   limits=limits)
    allowed = result.decision == "Allow"
    calls.record(account, role_arn, action, resource_arn, allowed, source=source)
    return allowed


def install():
    """Replace MiniStack's functions by these."""
    actions.extract_resource_arn = _extract_resource_arn
    actions.s3_service_context = _s3_context
    actions.access_denied_response = _access_denied
    evaluator.enforce = _enforce
    # The endpoint is plain HTTP on loopback: what a policy asks of TLS counts as met (gaps.py).
    secure = lambda address, _secure: _ministack_pin_origin(address, True)      # noqa: E731
    evaluator._request_origin = contextvars.ContextVar("lifeboat_origin", default=("127.0.0.1", True))
    evaluator.pin_request_origin = secure
    app.pin_request_origin = secure
    for name, value in (("enforce", _enforce), ("extract_resource_arn", _extract_resource_arn)):
        if hasattr(app, name):
            setattr(app, name, value)
