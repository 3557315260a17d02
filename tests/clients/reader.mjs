/**
 * Reads event streams with Chromium's own EventSource.
 *
 * usage: reader.mjs --http VERSION [--page URL] [--credentials] [--cookie TEXT] URL...
 *
 * Opens a page, the root of the first URL's host unless told, and in it one EventSource per URL. Writes a line of JSON for
 * each response (`open`), each refusal (`closed`) and each event. Ends when its standard input does.
 */

import { parseArgs } from "node:util";
import { chromium } from "../browser/node_modules/playwright-core/index.mjs";
import { findChromium } from "../browser/support.mjs";

const { values, positionals: urls } = parseArgs({
  allowPositionals: true,
  options: {
    http: { type: "string" },
    page: { type: "string" },
    credentials: { type: "boolean", default: false },
    cookie: { type: "string" },
  },
});

// The sandbox needs user namespaces, which containers seldom have.
const args = ["--no-sandbox", "--disable-dev-shm-usage"];
if (values.http === "1.1") args.push("--disable-http2");
const browser = await chromium.launch({ executablePath: findChromium(), args });
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const page = await context.newPage();
await page.exposeFunction("say", (line) => process.stdout.write(`${JSON.stringify(line)}\n`));
await page.goto(values.page ?? new URL("/", urls[0]).href);

await page.evaluate(
  ({ urls, credentials, cookie }) => {
    if (cookie) document.cookie = cookie;
    const protocol = performance.getEntriesByType("navigation")[0].nextHopProtocol;
    for (const [stream, url] of urls.entries()) {
      const source = new EventSource(url, { withCredentials: credentials });
      const say = ({ type, data, lastEventId }) => window.say({ stream, id: lastEventId, event: type, data });
      for (const type of ["message", "$gap", "$live", "$close"]) source.addEventListener(type, say);
      source.onopen = () => window.say({ stream, open: protocol });
      source.onerror = () => source.readyState === EventSource.CLOSED && window.say({ stream, closed: true });
    }
  },
  { urls, ...values },
);

process.stdin.resume();
process.stdin.on("end", async () => {
  await browser.close();
  process.exit(0);
});
