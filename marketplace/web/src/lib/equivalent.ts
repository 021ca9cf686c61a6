// SPDX-License-Identifier: Apache-2.0
// A request as people write it elsewhere. Pure.

/** Single quotes for a shell. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Texts, numbers, lists and objects alone, as quotes are made of: JSON of those is an expression in Python and JavaScript. */
const literal = (body: unknown): string => JSON.stringify(body, null, 2).replace(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

export const as_curl = (url: string, body: unknown): string =>
  `curl -s ${quoted(url)} -H 'content-type: application/json' \\\n  -d ${quoted(JSON.stringify(body))}`;

export const as_python = (url: string, body: unknown): string => `import json, urllib.request

body = ${literal(body)}
request = urllib.request.Request(
    ${JSON.stringify(url)}, json.dumps(body).encode(), {"content-type": "application/json"})
with urllib.request.urlopen(request) as answer:
    print(json.load(answer))`;

export const as_javascript = (url: string, body: unknown): string => `const body = ${literal(body)};
const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
});
console.log(await answer.json());`;
