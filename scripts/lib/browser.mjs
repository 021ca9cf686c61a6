// SPDX-License-Identifier: Apache-2.0
// Debian's Chromium, driven by playwright-core, for pages that people will look at.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const path = process.env.MILLRACE_CHROMIUM ?? "/usr/bin/chromium";

/** Why there is no browser; false when there is one. */
export const no_browser = existsSync(path) ? false : `there is no browser at ${path}`;

export const launch_browser = () => chromium.launch({ executablePath: path, args: ["--no-sandbox"] });
