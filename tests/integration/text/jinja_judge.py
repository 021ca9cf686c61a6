#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Renders chat templates with Jinja itself, set up as the transformers library does.

Reads lines {"template": …, "context": {…}}; answers {"text": …} or {"error": …} to each.
"""
import json
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def main():
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    compiled = {}
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        source = asked["template"]
        try:
            if source not in compiled:
                compiled[source] = environment.from_string(source)
            answer = {"text": compiled[source].render(**asked["context"])}
        except Exception as error:  # whatever a template may raise is a refusal
            answer = {"error": repr(error)}
        print(json.dumps(answer))


main()
