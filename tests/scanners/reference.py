"""Reads documents of patchadm by the reference libraries, and matches findings against them.

    reference.py openvex DOCUMENT FINDINGS    prints what stays open of lines `URL ID`, one line each
    reference.py cyclonedx DOCUMENT           validates the document, and prints `URL ID` of what patches resolve

The end 77 says that a library is not there.
"""

import json
import sys

try:
    from cyclonedx.model.bom import Bom
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from lib4vex.parser import VEXParser
    from packageurl import PackageURL
except ImportError as missing:
    print(missing)
    sys.exit(77)


def open_findings(document, findings):
    """What a scanner goes on telling: what no statement says is fixed, or does not affect the package."""
    parser = VEXParser("openvex")
    parser.parse(document)
    closed = {
        (str(PackageURL.from_string(one["purl"])), one["id"])
        for one in parser.get_vulnerabilities()
        if one["status"] in ("fixed", "not_affected")
    }
    for line in open(findings):
        url, name = line.split()
        if (str(PackageURL.from_string(url)), name) not in closed:
            yield f"{url} {name}"


def resolved(document):
    """What the patches of the components resolve, once the document is valid."""
    text = open(document).read()
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        sys.exit(f"not valid: {fault}")
    bom = Bom.from_json(data=json.loads(text))
    bom.validate()
    for component in bom.components:
        # Whoever writes a URL as the library does wrote it as the specification says.
        if str(component.purl) not in text:
            sys.exit(f"{component.purl} is written in another way")
        for patch in component.pedigree.patches if component.pedigree else []:
            for issue in patch.resolves:
                yield f"{component.purl} {issue.id}"


if __name__ == "__main__":
    lines = open_findings(*sys.argv[2:]) if sys.argv[1] == "openvex" else resolved(*sys.argv[2:])
    print("\n".join(sorted(lines)))
