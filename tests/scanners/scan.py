"""Scans a bill of materials of patchadm with CVE Binary Tool, without a network.

    scan.py HOME BOM [VEX] <FINDINGS    prints lines `PRODUCT ID REMARK` of what the scanner tells

Its database, in HOME, knows of nothing but the findings, lines `VENDOR PRODUCT FIXED ID`: every version of the product
before FIXED is vulnerable. The end 77 says that the scanner is not there.
"""

import json
import os
import subprocess
import sys

home, materials, *vex = sys.argv[1:]
os.environ["HOME"] = home
try:
    from cve_bin_tool.cvedb import CVEDB
except ImportError as missing:
    print(missing)
    sys.exit(77)

findings = [line.split() for line in sys.stdin]
database = CVEDB(sources=[], version_check=False)
os.makedirs(database.cachedir, exist_ok=True)
database.init_database()
database.populate_metrics()
cursor = database.db_open_and_get_cursor()
severities = [
    {
        "ID": name,
        "severity": "HIGH",
        "description": name,
        "score": 7.5,
        "CVSS_version": 3,
        "CVSS_vector": "AV:N",
        "last_modified": "2026-01-01T00:00:00Z",
    }
    for name in sorted({finding[3] for finding in findings})
]
database.populate_severity(severities, cursor, "NVD")
database.populate_cve_metrics(severities, cursor)
ranges = [
    {
        "cve_id": name,
        "vendor": vendor,
        "product": product,
        "version": "*",
        "versionStartIncluding": "",
        "versionStartExcluding": "",
        "versionEndIncluding": "",
        "versionEndExcluding": fixed,
    }
    for vendor, product, fixed, name in findings
]
database.populate_affected(ranges, cursor, "NVD")
database.connection.commit()
database.db_close()

told = os.path.join(home, "told")
line = [sys.executable, "-m", "cve_bin_tool.cli", "--offline", "--disable-version-check", "--sbom", "cyclonedx"]
line += ["--sbom-file", materials, "-f", "json", "-o", told]
for document in vex:
    line += ["--vex-file", document]
ended = subprocess.run(line, capture_output=True, text=True)
if not os.path.exists(told + ".json"):
    sys.exit(f"the scanner told nothing, exit {ended.returncode}: {ended.stderr}{ended.stdout}")
for one in json.load(open(told + ".json")):
    print(one["product"], one["cve_number"], one["remarks"])
os.remove(told + ".json")
