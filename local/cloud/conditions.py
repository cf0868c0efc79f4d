"""Conditions of a template may refer to `AWS::AccountId`, `AWS::Region` and the like; MiniStack takes those for text."""

import sys

from ministack.core.responses import get_account_id, get_region
from ministack.services.cloudformation import engine

_NAME = "_evaluate_conditions"
_ministack_evaluate = engine._evaluate_conditions


def _evaluate_conditions(template, params):
    pseudo = {"AWS::AccountId": get_account_id(), "AWS::Region": get_region(), "AWS::Partition": "aws",
              "AWS::URLSuffix": "amazonaws.com"}
    return _ministack_evaluate(template, {**{name: {"Value": value} for name, value in pseudo.items()}, **params})


def install():
    """Replace the function in all of MiniStack's modules that use it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("ministack.services.cloudformation") and getattr(module, _NAME, None) is _ministack_evaluate:
            setattr(module, _NAME, _evaluate_conditions)
