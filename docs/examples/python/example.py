"""A Python program that asks the server by OFREP, and tells who was exposed and
how it went. It needs nothing but Python, to show what goes over the wire; with
OpenFeature's SDK and its OFREP provider installed, the first half is theirs.

    FLYBALL_SERVER=http://127.0.0.1:8080 FLYBALL_TOKEN=fb_sdk_… python3 python/example.py user-1
"""

import datetime
import json
import os
import sys
import urllib.error
import urllib.request
import uuid

SERVER, TOKEN = os.environ["FLYBALL_SERVER"], os.environ["FLYBALL_TOKEN"]


def post(path, body):
    """Returns the status and the JSON of an answer; refusals are answers too."""
    request = urllib.request.Request(
        SERVER + path, json.dumps(body).encode(), {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def boolean(flag, default, context):
    """Returns the value of a flag with its details; the default if there is no answer."""
    try:
        status, answer = post(f"/ofrep/v1/evaluate/flags/{flag}", {"context": context})
    except OSError as outage:  # a program goes on without its flags
        return default, {"errorCode": "GENERAL", "errorDetails": str(outage)}
    value = answer.get("value")
    return (value if status == 200 and isinstance(value, bool) else default), answer


unit = sys.argv[1]
fast, details = boolean("shop.checkout.fast", False, {"targetingKey": unit, "plan": "pro"})
print(f"fast: {str(fast).lower()} ({details.get('variant')}, {details.get('reason')})")

# A program gathers these, and sends a batch as often as the answer says.
now = datetime.datetime.now(datetime.timezone.utc).isoformat()
exposure = details.get("metadata", {})
status, answer = post("/sdk/v1/telemetry", {
    "batch": str(uuid.uuid4()), "seq": 1, "sentAt": now,
    "instance": {"id": f"example-python-{os.getpid()}", "service": "example-python", "version": "1.0.0"},
    "exposures": [{
        "t": now, "flag": "shop.checkout.fast", "variant": details["variant"], "unit": unit,
        "rollout": exposure["rollout"], "step": exposure["step"], "version": exposure["version"],
    }] if "rollout" in exposure else [],
    "observations": [{"t": now, "metric": "shop.checkout.errors", "unit": unit, "value": 0}],
})
if status != 202:
    sys.exit(f"telemetry: {status} {answer}")
