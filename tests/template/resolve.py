"""Decides conditions and intrinsics of a template as far as can be known without deploying it.

What belongs to another resource stays a word: `!Ref BackupBucket` becomes `${BackupBucket}`, `!GetAtt BackupBucket.Arn` becomes
`${BackupBucket.Arn}`. That is enough to compare policies with resources, and it never pretends to know an ARN.
"""

import re

NOTHING = object()


class Resolver:
    """One template under one set of parameters."""

    def __init__(self, template, parameters):
        self.template = template
        defaults = {name: p["Default"] for name, p in template.get("Parameters", {}).items() if "Default" in p}
        self.parameters = {name: str(value) for name, value in (defaults | parameters).items()}

    def resources(self):
        """The resources that would exist, with everything in them decided."""
        return {
            name: self.value({key: part for key, part in resource.items() if key != "Condition"})
            for name, resource in self.template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    def condition(self, name):
        return self._truth(self.template["Conditions"][name])

    def _truth(self, expression):
        ((function, argument),) = expression.items()
        match function:
            case "Condition":
                return self.condition(argument)
            case "Fn::Equals":
                left, right = (self.value(part) for part in argument)
                return left == right
            case "Fn::Not":
                return not self._truth(argument[0])
            case "Fn::And":
                return all(self._truth(part) for part in argument)
            case "Fn::Or":
                return any(self._truth(part) for part in argument)
        raise ValueError(f"condition function {function} is not known here")

    def value(self, part):
        """A value with its intrinsics decided."""
        if isinstance(part, list):
            return [value for item in part if (value := self.value(item)) is not NOTHING]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            ((function, argument),) = part.items()
            if function == "Ref":
                return self._name(argument)
            if function == "Fn::GetAtt":
                name = argument if isinstance(argument, str) else ".".join(argument)
                return f"${{{name}}}"
            if function == "Fn::If":
                name, yes, no = argument
                return self.value(yes if self.condition(name) else no)
            if function == "Fn::Sub":
                return self._sub(argument)
            if function == "Fn::Split":
                separator, text = argument
                return self.value(text).split(separator)
            if function == "Fn::Join":
                separator, parts = argument
                return separator.join(self.value(parts))
            if function.startswith("Fn::"):
                raise ValueError(f"intrinsic {function} is not known here")
        return {key: value for key, item in part.items() if (value := self.value(item)) is not NOTHING}

    def _name(self, name):
        if name == "AWS::NoValue":
            return NOTHING
        return self.parameters.get(name, f"${{{name}}}")

    def _sub(self, argument):
        text, names = (argument, {}) if isinstance(argument, str) else argument
        names = {name: self.value(value) for name, value in names.items()}
        return re.sub(r"\$\{([^!}]+)\}", lambda found: str(names.get(found[1], self._name(found[1]))), text)


def listed(value):
    """IAM and CloudFormation let one thing stand for a list of one."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def statements(policy):
    return listed(policy["Statement"])


def of_type(resources, kind):
    return {name: resource.get("Properties", {}) for name, resource in resources.items() if resource["Type"] == kind}


def identity(resources, token):
    """The logical id in `${Name}` or `${Name.Attribute}`, if such a resource exists."""
    found = re.fullmatch(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}", str(token))
    return found[1] if found and found[1] in resources else None
