// SPDX-License-Identifier: Apache-2.0
// The public client, for tests that lie outside of this package.
export { default as OpenAI, toFile } from "openai";
