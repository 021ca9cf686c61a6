// SPDX-License-Identifier: Apache-2.0
// Files of the reader's machine on their way to the market: read once for their hash, sent as they lie on the disk.
import { bytesToHex, sha256, type Hex } from "viem";
import { MarketError, request } from "./api";

export interface PickedFile {
  name: string;
  blob: Blob;
  hash: Hex;
}
/** What stands in a spec for a file that is not chosen yet. */
export const no_blob: Hex = `0x${"0".repeat(64)}`;
export const data_bytes_max = 256 * 1024 * 1024;
/** What the market takes in one request. */
export const file_bytes_max = 1024 * 1024 * 1024;

/** Throws an Error for people when the file is empty or too large to be read here. */
export async function pick_file(blob: Blob, name: string, bytes_max: number): Promise<PickedFile> {
  if (blob.size === 0 || blob.size > bytes_max) throw new Error(`${name}: a file must have 1 byte to ${bytes_max / 1024 / 1024} MiB here; larger ones go by the command line.`);
  const bytes = new Uint8Array(await blob.arrayBuffer());
  // Not there on plain http other than localhost.
  const hash = crypto.subtle ? bytesToHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))) : sha256(bytes);
  return { name, blob, hash };
}

/** Whether the market has these bytes already. */
export async function is_stored(hash: string): Promise<boolean> {
  try {
    await request(`/v1/blobs/${hash}`, { method: "HEAD" });
    return true;
  } catch (error) {
    if (error instanceof MarketError && error.problem.status === 404) return false;
    throw error;
  }
}

/** Sends what the market does not have; `told` says which file is on its way. */
export async function send_files(files: PickedFile[], told: (text: string) => void): Promise<void> {
  for (const { name, blob, hash } of files) {
    if (await is_stored(hash)) continue;
    told(`Sending ${name}…`);
    await request(`/v1/blobs/${hash}`, { method: "PUT", bytes: blob });
  }
}
