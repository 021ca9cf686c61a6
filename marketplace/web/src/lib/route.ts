// SPDX-License-Identifier: Apache-2.0
// Where the reader is: the path after /app/. "" is the market.
import { signal } from "@preact/signals";

const read = (): string => (location.pathname.startsWith("/app/") ? location.pathname.slice(5).replace(/\/$/, "") : "");
export const path = signal(read());

export function go(to: string): void {
  history.pushState(null, "", to);
  path.value = read();
  window.scrollTo(0, 0);
  document.querySelector("main")?.focus();
}

/** Links within the console change the page without loading it anew; others are the browser's. */
export function follow_links(): void {
  window.addEventListener("popstate", () => (path.value = read()));
  document.addEventListener("click", (event) => {
    const link = (event.target as Element | null)?.closest("a");
    if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const url = new URL(link.href, location.href);
    const ours = url.origin === location.origin && (url.pathname === "/" || url.pathname.startsWith("/app/"));
    if (!ours || link.target || link.hasAttribute("download")) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
}
