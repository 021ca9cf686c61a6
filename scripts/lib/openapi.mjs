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

  /** What is wrong with an answer; empty: nothing. `body` is parsed JSON, where it is JSON. */
  faults(method, target, status, content_type, body) {
    const path = target.split("?")[0];
    const place = this.paths.find((one) => one.pattern.test(path) && one.operations[method.toLowerCase()]);
    if (!place) return [`${method} ${path} is not in the document`];
    const operation = place.operations[method.toLowerCase()];
    this.seen.add(`${operation.operationId} ${status}`);
    const key = operation.responses[status] ? String(status) : "default";
    if (key === "default" && status < 400) return [`${operation.operationId}: ${status} is not in the document`];
    const pointer = `/paths/${place.template.replaceAll("~", "~0").replaceAll("/", "~1")}/${method.toLowerCase()}/responses/${key}`;
    const { node: response, pointer: shared } = this.#resolve(operation.responses[key]);
    if (!response.content) return body === undefined ? [] : [`${operation.operationId} ${status}: no body is documented`];
    const type = content_type?.split(";")[0];
    if (!response.content[type]) return [`${operation.operationId} ${status}: ${type} is not in the document`];
    if (!/json$/.test(type)) return [];
    const where = `openapi#${shared ?? pointer}/content/${type.replaceAll("/", "~1")}/schema`;
    const validate = this.ajv.getSchema(where) ?? this.ajv.compile({ $ref: where });
    return validate(body) ? [] : validate.errors.map((error) =>
      `${operation.operationId} ${status}: ${error.instancePath || "/"} ${error.message} ${JSON.stringify(error.params)}`);
  }
}
