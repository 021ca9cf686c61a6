// SPDX-License-Identifier: Apache-2.0
// Programs on a terminal: what a person would see and type. `script` (of every Debian) makes the terminal.
import { spawn } from "node:child_process";
import { until } from "./wait.mjs";

const quoted = (word) => `'${String(word).replaceAll("'", "'\\''")}'`;

export class Terminal {
  output = ""; // everything that was shown, escape sequences and all
  code; // exit code, once it has ended

  constructor(program, args, { env, columns = 80 } = {}) {
    const line = `stty cols ${columns} rows 24; exec ${[program, ...args].map(quoted).join(" ")}`;
    this.child = spawn("script", ["-qefc", line, "/dev/null"], { env: { ...process.env, TERM: "xterm-256color", ...env } });
    this.child.stdout.setEncoding("utf8").on("data", (text) => (this.output += text));
    this.child.once("exit", (code) => (this.code = code));
  }

  type(text) {
    this.child.stdin.write(text);
  }

  /** Waits until what is shown matches; gives the match. */
  shows(pattern, options) {
    return until(`the terminal to show ${pattern}`, () => this.output.match(pattern) ?? shown(this.output), {
      ...options,
      alive: () => {
        if (this.code !== undefined && !this.output.match(pattern)) throw Object.assign(new Error(`it ended with ${this.code}:\n${this.output.slice(-1500)}`), { final: true });
      },
    });
  }

  async ended(options) {
    await until("the program to end", () => this.code !== undefined, options);
    return this.code;
  }

  close() {
    if (this.code === undefined) this.child.kill("SIGKILL");
  }
}

/** For `until`: not yet, and what there is instead. */
function shown(output) {
  throw new Error(`the last of it:\n${plain(output).slice(-1000)}`);
}

/** What is shown without colours and cursor movement. */
export const plain = (text) => text.replaceAll(/\x1b\[[0-9;?]*[A-Za-z]/g, "");
