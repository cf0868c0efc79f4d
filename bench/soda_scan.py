"""One scan of Soda Core, and what it found as JSON: the numbers of every table and column, and how each check ended."""

import json
import os
import sys

from soda.scan import Scan


def columns(profile):
    """The numbers of each column; of char(n) none, for its length is counted without blanks here and with them there."""
    found = {column["columnName"]: column["profile"] for column in profile["columnProfiles"] if column["columnName"] != "filler"}
    if profile["rowCount"] == 0:
        return {name: {"missing_count": 0} for name in found}
    return found


def main():
    scan = Scan()
    scan.set_data_source_name("night")
    scan.add_configuration_yaml_str(
        f"""
data_source night:
  type: postgres
  host: {os.environ["PGHOST"]}
  port: "{os.environ["PGPORT"]}"
  username: {os.environ["PGUSER"]}
  password: "{os.environ["PGPASSWORD"]}"
  database: {os.environ["PGDATABASE"]}
  schema: public
"""
    )
    with open(sys.argv[1], encoding="utf-8") as checks:
        scan.add_sodacl_yaml_str(checks.read())
    scan.execute()
    results = scan.get_scan_results()
    # A column of one value, or of none, has no histogram: that is said as an error, and the numbers are there.
    errors = [line["message"] for line in results["logs"] if line["level"].lower() == "error"]
    errors = [message for message in errors if not message.startswith("Database returned no results")]
    if errors:
        sys.exit("\n".join(errors))
    tables = {
        profile["table"]: {"rows": profile["rowCount"], "columns": columns(profile)} for profile in results["profiling"]
    }
    checks = {check["name"]: check["outcome"] for check in results["checks"]}
    json.dump({"tables": tables, "checks": checks}, sys.stdout, default=str)


main()
