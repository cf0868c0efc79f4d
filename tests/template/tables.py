"""The tables of DEPLOYMENT.md that would otherwise go stale: parameters, and IAM permissions with the reason for each.

`python tables.py` says whether they are current; `--write` makes them so.
"""

import re
import sys

from resolve import Resolver, listed, of_type
from structure import REASONS, ROOT
from transform import raw

DOCUMENT = ROOT / "DEPLOYMENT.md"


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def parameters(template):
    lines = []
    for group in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        lines += [f"**{group['Label']['default']}**", "", "| parameter | default | what it is |", "|---|---|---|"]
        for name in group["Parameters"]:
            parameter = template["Parameters"][name]
            default = "needed" if "Default" not in parameter else f"`{parameter['Default']}`" if parameter["Default"] != "" else "empty"
            allowed = f" One of {', '.join(f'`{value}`' for value in parameter['AllowedValues'])}." if "AllowedValues" in parameter else ""
            lines.append(f"| `{name}` | {cell(default)} | {cell(parameter['Description'])}{cell(allowed)} |")
        lines.append("")
    return lines


def permissions(template):
    """Every statement that a role can have, whatever the parameters, with short names for the stack's own ARNs."""
    everything = {"IntegrityChecksObject": "s3://IntegrityChecksObject", "SecretsKeyArn": "SecretsKeyArn", "VpcSubnetIds": "s", "VpcSecurityGroupIds": "s", "Instance": "INSTANCE", "Stage": "STAGE"}
    optional = ("InstanceKeyArn", "CopyRegion", "CopyKeyArn", "CopyAccountRoleArn", "CopyAccountKeyArn", "CopyAccountRetentionRoleArn", "ReplicaBucketName", "ReplicaRegion", "ReplicaKeyArn", "VpcId", "DrillServerUrlParameter",
                "CanaryDefinitions", "CanaryParameterArns", "IntegrityObjectArns", "IntegrityObjectBucketArns", "RotatedParameterArns", "RotatedSecretArns", "RotatorDatabaseUserArn", "RotationEcsServiceArns", "RotationBeanstalkEnvironmentArns", "RotationLambdaArns")
    everything |= {name: name for name in optional}
    resources = Resolver(template, everything).resources()
    lines = []
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        lines += [f"**{name}**", "", "| statement | actions | on | reason |", "|---|---|---|---|"]
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = ", ".join(f"`{action}`" for action in listed(statement["Action"]))
                targets = ", ".join(f"`{shorten(resource)}`" for resource in listed(statement["Resource"]))
                conditions = [f"`{key}` = {', '.join(f'`{shorten(v)}`' for v in listed(value))}" for test in statement.get("Condition", {}).values() for key, value in test.items()]
                targets += f" when {' and '.join(conditions)}" if conditions else ""
                deny = "DENIES " if statement["Effect"] == "Deny" else ""
                lines.append(f"| {statement['Sid']} | {deny}{cell(actions)} | {cell(targets)} | {cell(REASONS[name][statement['Sid']])} |")
        lines.append("")
    return lines


def shorten(text):
    text = re.sub(r"arn:\$\{AWS::Partition\}:[a-z]+:\$\{AWS::Region\}:\$\{AWS::AccountId\}:", "", str(text))
    text = re.sub(r"arn:\$\{AWS::Partition\}:[a-z]+:CopyRegion:\$\{AWS::AccountId\}:", "CopyRegion:", text)
    text = re.sub(r"\.\$\{AWS::Region\}\.\$\{AWS::URLSuffix\}", "", text)
    return re.sub(r"\$\{([A-Za-z:]+)(?:\.Arn)?\}", r"\1", text)


def rewritten(text, template):
    for name, lines in (("parameters", parameters(template)), ("permissions", permissions(template))):
        begin, end = f"<!-- begin {name} (tests/template/tables.py --write) -->", f"<!-- end {name} -->"
        before, rest = text.split(begin)
        text = before + begin + "\n\n" + "\n".join(lines).rstrip() + "\n\n" + end + rest.split(end)[1]
    return text


def problems(template):
    for role, reasons in REASONS.items():
        if role == "everywhere":
            continue
        for sid in reasons:
            if f"Sid: {sid}\n" not in (ROOT / "template.yaml").read_text():
                yield f"iam_reasons.toml: {role} {sid} is in no policy"
    text = DOCUMENT.read_text()
    if rewritten(text, template) != text:
        yield "the tables of DEPLOYMENT.md are stale: run tests/template/tables.py --write"


def main():
    template = raw()
    if "--write" in sys.argv:
        DOCUMENT.write_text(rewritten(DOCUMENT.read_text(), template))
    sys.exit("\n".join(problems(template)))


if __name__ == "__main__":
    main()
