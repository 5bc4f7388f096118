// Pages in headless Chromium: the gateway's own, and a stranger's.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { run } from "./scenarios.mjs";

const { ADMIN, CHROMIUM, GATEWAY, STRANGER, TOKEN } = process.env;
const PORT = new URL(GATEWAY).port;
const PAGE = `${GATEWAY}/.gateway/`;

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
    "--host-resolver-rules=MAP rebinding.test 127.0.0.1",
  ],
});
const context = await browser.newContext();

/** What the gateway's page has done wrong: errors, breaches of its policy, and requests that go elsewhere. */
const faults = [];

async function open() {
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("request", (request) => request.url().startsWith(`${GATEWAY}/`) || faults.push(request.url()));
  await page.addInitScript(() =>
    addEventListener("securitypolicyviolation", (event) => console.error(event.violatedDirective, event.blockedURI)),
  );
  await page.goto(PAGE);
  return page;
}

let page;
const account = (label) => page.getByRole("article").filter({ has: page.getByRole("heading", { name: `${label} (` }) });
const shows = (label, text) => account(label).getByText(text).waitFor();
const ask = () => fetch(`${GATEWAY}/openai/v1/models`, { headers: { authorization: `Bearer ${TOKEN}` } });

async function signs_in() {
  page = await open();
  await page.getByLabel("Token").fill(TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").filter({ hasText: /./ }).waitFor();
  assert.equal(await page.getByRole("article").count(), 0);
  await page.getByLabel("Token").fill(ADMIN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await shows("limited-1", "ready");
  await shows("limited-1", "The next request takes it.");
  await shows("good-2", "ready");
  assert.ok(await page.getByRole("alert").isHidden());
  // The browser tells of each refusal of the first token, some after the page has.
  assert.ok(faults.splice(0).every((fault) => fault.includes("403")));
  return "well";
}

async function shows_what_happens() {
  assert.equal((await ask()).status, 200);
  await shows("limited-1", /^cooling, 59m|^cooling, 1h/);
  await shows("limited-1", "Since a response with 429.");
  await shows("good-2", "The next request takes it.");
  await page.locator("#events").getByText("openai/limited-1").first().waitFor();
  return "well";
}

async function pauses_and_resumes() {
  await account("good-2").getByRole("button", { name: "Pause" }).click();
  await shows("good-2", "paused");
  assert.equal((await ask()).ok, false);
  await account("good-2").getByRole("button", { name: "Resume" }).click();
  await shows("good-2", "ready");
  assert.equal((await ask()).status, 200);
  return "well";
}

async function resets() {
  await account("limited-1").getByRole("button", { name: "Reset" }).click();
  await shows("limited-1", "ready");
  return "well";
}

async function stays_signed_in() {
  await page.reload();
  await shows("limited-1", "ready");
  // In this tab alone.
  const other = await open();
  await other.getByLabel("Token").waitFor();
  assert.equal(await other.getByRole("article").count(), 0);
  return "well";
}

async function is_quiet() {
  assert.deepEqual(faults, []);
  return "well";
}

/** Tries from a page of another origin all that sends a request. */
async function strangers_page() {
  const page = await context.newPage();
  await page.goto(STRANGER);
  const url = `${GATEWAY}/openai/v1/models`;
  const ends = await page.evaluate(async ([url, socket, own]) => {
    const end = (promise) => promise.then((response) => response.type, () => "error");
    const made = (name, attributes) =>
      new Promise((resolve) => {
        const element = Object.assign(document.createElement(name), attributes);
        element.onload = () => resolve("load");
        element.onerror = () => resolve("error");
        document.body.append(element);
      });
    const post = { method: "POST", body: "{}" };
    const ends = {
      get: await end(fetch(url)),
      opaque: await end(fetch(url, { mode: "no-cors" })),
      post: await end(fetch(url, { ...post, mode: "no-cors" })),
      json: await end(fetch(url, { ...post, headers: { "content-type": "application/json" } })),
      put: await end(fetch(url, { ...post, method: "PUT" })),
      image: await made("img", { src: url }),
      script: await made("script", { src: url }),
      page: await made("script", { src: own + "page.js" }),
      style: await made("link", { rel: "stylesheet", href: url }),
      beacon: String(navigator.sendBeacon(url, "{}")),
      socket: await new Promise((resolve) => {
        const opened = new WebSocket(socket);
        opened.onopen = () => resolve("open");
        opened.onerror = () => resolve("error");
      }),
    };
    for (const target of [url, own]) {
      await made("iframe", { src: target });
    }
    const frame = Object.assign(document.createElement("iframe"), { name: "frame" });
    document.body.append(frame);
    const form = Object.assign(document.createElement("form"), { method: "post", action: url, target: "frame", enctype: "text/plain" });
    document.body.append(form);
    const sent = new Promise((resolve) => (frame.onload = resolve));
    form.submit();
    await sent;
    return ends;
  }, [url, url.replace("http", "ws"), PAGE]);
  const { opaque, post, beacon, ...others } = ends;
  // Of these a page never learns the response.
  assert.deepEqual([opaque, post, beacon], ["opaque", "opaque", "true"]);
  assert.deepEqual([...new Set(Object.values(others))], ["error"], JSON.stringify(ends));
  // A link that a person follows is a stranger's too.
  const [response] = await Promise.all([
    page.waitForResponse(url),
    page.evaluate((url) => (location.href = url), url),
  ]);
  assert.equal(response.status(), 403);
  return "well";
}

/** A name that a stranger lets resolve to this machine. */
async function strangers_name() {
  const page = await context.newPage();
  const start = `http://rebinding.test:${PORT}`;
  for (const path of ["/.gateway/", "/openai/v1/models", "/healthz"]) {
    assert.equal((await page.goto(start + path)).status(), 403, path);
  }
  const status = await page.evaluate(async (url) => (await fetch(url)).status, `${start}/openai/v1/models`);
  assert.equal(status, 403);
  return "well";
}

async function own_page() {
  const page = await context.newPage();
  await page.goto(PAGE);
  return page.evaluate(async () => (await fetch("/openai/v1/models")).text());
}

await run({
  signs_in,
  shows_what_happens,
  pauses_and_resumes,
  resets,
  stays_signed_in,
  is_quiet,
  strangers_page,
  strangers_name,
  own_page,
});
await browser.close();
