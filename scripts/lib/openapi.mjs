// SPDX-License-Identifier: Apache-2.0
// Live answers held against the market's own OpenAPI document.
import Ajv2020 from "ajv/dist/2020.js";
import add_formats from "ajv-formats";
import { Validator } from "@seriousme/openapi-schema-validator";

/** What is wrong with the document itself, by the OpenAPI 3.1 JSON schema: a list of texts. */
export async function document_faults(document) {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(document));
  if (result.valid) return validator.version === "3.1" ? [] : [`it is OpenAPI ${validator.version}`];
  return [JSON.stringify(result.errors)];
}

/** The schema with every object that names its members closed: what it does not name is a fault. */
function closed(schema) {
  if (Array.isArray(schema)) return schema.map(closed);
  if (schema === null || typeof schema !== "object") return schema;
  const out = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, key === "enum" || key === "const" ? value : closed(value)]));
  if (out.type === "object" && out.properties && out.additionalProperties === undefined) out.additionalProperties = false;
  return out;
}

export class ApiContract {
  /** "operationId status" of every answer that was held against the document. */
  seen = new Set();

  constructor(document) {
    this.document = closed(document);
    this.ajv = add_formats(new Ajv2020({ strict: false, allErrors: true }));
    this.ajv.addSchema(this.document, "openapi");
    this.paths = Object.entries(this.document.paths).map(([template, operations]) => ({
      template,
      pattern: new RegExp(`^${template.replace(/\{[^}]+\}/g, "[^/]+")}$`),
      // A fixed part wins over a parameter, as it does in the market.
      parameters: template.split("{").length,
      operations,
    })).sort((a, b) => a.parameters - b.parameters);
  }

  /** Every operation: { id, method, path, operation }. */
  operations() {
    return this.paths.flatMap(({ template, operations }) =>
      Object.entries(operations).map(([method, operation]) => ({ id: operation.operationId, method, path: template, operation })));
  }

  #resolve(node) {
    if (!node?.$ref) return { node, pointer: undefined };
    const pointer = node.$ref.slice(1);
    return { node: pointer.split("/").slice(1).reduce((at, part) => at[part.replaceAll("~1", "/").replaceAll("~0", "~")], this.document), pointer };
  }

  #place(method, target) {
    const path = target.split("?")[0];
    return this.paths.find((one) => one.pattern.test(path) && one.operations[method.toLowerCase()]);
  }

  #pointer(place, method, rest) {
    return `/paths/${place.template.replaceAll("~", "~0").replaceAll("/", "~1")}/${method.toLowerCase()}${rest}`;
  }

  #check(where, body, name) {
    const validate = this.ajv.getSchema(where) ?? this.ajv.compile({ $ref: where });
    return validate(body) ? [] : validate.errors.map((error) =>
      `${name}: ${error.instancePath || "/"} ${error.message} ${JSON.stringify(error.params)}`);
  }

  /** What the document has against a request that the market took; `body` as for `faults`. */
  request_faults(method, target, body) {
    const place = this.#place(method, target);
    if (!place) return [];
    const operation = place.operations[method.toLowerCase()];
    const known = new Set(operation.parameters.filter((one) => one.in === "query").map((one) => one.name));
    const out = [...new URL(target, "http://x").searchParams.keys()].filter((name) => !known.has(name))
      .map((name) => `${operation.operationId}: ?${name} is not in the document`);
    if (body === undefined) return out;
    if (!operation.requestBody) return [...out, `${operation.operationId}: no request body is documented`];
    if (!operation.requestBody.content["application/json"]) return out;
    const where = `openapi#${this.#pointer(place, method, "/requestBody/content/application~1json/schema")}`;
    return [...out, ...this.#check(where, body, `${operation.operationId} request`)];
  }

  /** What is wrong with an answer; empty: nothing. `body` is parsed JSON, where it is JSON. */
  faults(method, target, status, content_type, body) {
    const place = this.#place(method, target);
    if (!place) return [`${method} ${target} is not in the document`];
    const operation = place.operations[method.toLowerCase()];
    this.seen.add(`${operation.operationId} ${status}`);
    const key = operation.responses[status] ? String(status) : "default";
    if (key === "default" && status < 400) return [`${operation.operationId}: ${status} is not in the document`];
    const pointer = this.#pointer(place, method, `/responses/${key}`);
    const { node: response, pointer: shared } = this.#resolve(operation.responses[key]);
    if (!response.content) return body === undefined ? [] : [`${operation.operationId} ${status}: no body is documented`];
    const type = content_type?.split(";")[0];
    if (!response.content[type]) return [`${operation.operationId} ${status}: ${type} is not in the document`];
    if (!/json$/.test(type)) return [];
    const where = `openapi#${shared ?? pointer}/content/${type.replaceAll("/", "~1")}/schema`;
    return this.#check(where, body, `${operation.operationId} ${status}`);
  }
}
