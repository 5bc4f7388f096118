"use strict";

const EVERY = 2000;
const MOST_EVENTS = 200;
const element = (id) => document.getElementById(id);

let token = sessionStorage.getItem("token");

/** Asks the gateway, with the administrator's token. */
async function ask(path, method = "GET") {
  const response = await fetch(path, { method, headers: { authorization: `Bearer ${token}` } });
  if (response.ok) {
    return response;
  }
  const { error } = await response.json();
  throw Object.assign(new Error(error.message), { status: response.status });
}

function tell(error) {
  element("error").textContent = error ? `${error.message}` : "";
  element("error").hidden = !error;
}

/** In whole units, such as `3m 20s`. */
function brief(milliseconds) {
  const seconds = Math.ceil(milliseconds / 1000);
  const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit));
  if (days > 0) return `${days}d ${hours % 24}h`;
  if (hours > 0) return `${hours}h ${minutes % 60}m`;
  if (minutes > 0) return `${minutes}m ${seconds % 60}s`;
  return `${seconds}s`;
}

/** The class and the words of an account's state. */
function state({ standing, ready_in_ms: wait }) {
  const { health, paused } = standing;
  if (paused) return ["out", "paused"];
  if (health.state !== "good") {
    return ["out", `${health.state.replaceAll("_", " ")}${health.reason ? `: ${health.reason}` : ""}`];
  }
  return wait > 0 ? ["cooling", `cooling, ${brief(wait)}`] : ["ready", "ready"];
}

/** Why it is not taken, in the words of the pool. */
function why(explanation) {
  if (!explanation) return "";
  if (explanation.is_next) return "The next request takes it.";
  const { cooldown } = explanation;
  const cause = cooldown && cooldown.cause;
  return cause ? `Since a response with ${cause.status}.` : "";
}

function left(windows) {
  const now = Date.now();
  return windows.filter(({ resets_at }) => !resets_at || resets_at > now).map((window) => {
    const label = document.createElement("label");
    const meter = document.createElement("meter");
    const share = window.left === undefined ? window.remaining / window.limit : window.left / 1000;
    if (!Number.isFinite(share)) return label;
    Object.assign(meter, { min: 0, max: 1, low: 0.2, high: 0.5, optimum: 1, value: share });
    label.append(`${window.name}: ${Math.round(share * 100)}% left, said ${brief(now - window.said_at)} ago `, meter);
    return label;
  });
}

function shown(account, explanation) {
  const article = element("account").content.cloneNode(true).firstElementChild;
  const [kind, words] = state(account);
  article.className = kind;
  article.querySelector("h3").textContent = `${account.label} (${account.id.slice(0, 8)})`;
  article.querySelector(".state").textContent = words;
  article.querySelector(".why").textContent = why(explanation);
  article.querySelector(".left").append(...left(account.standing.allowance || []));
  for (const button of article.querySelectorAll("button")) {
    button.hidden = button.value === (account.standing.paused ? "pause" : "resume");
    button.addEventListener("click", () => act(account.id, button.value));
  }
  return article;
}

async function act(id, action) {
  try {
    await ask(`accounts/${id}/${action}`, "POST");
    tell();
    await look();
  } catch (error) {
    tell(error);
  }
}

/** Shows the accounts as they are now. */
async function look() {
  const [pools, reasons] = await Promise.all(
    ["accounts", "why"].map(async (path) => (await ask(path)).json()),
  );
  const parts = pools.flatMap((pool) => {
    const title = document.createElement("h2");
    title.textContent = `${pool.provider}${pool.namespace === "default" ? "" : `/${pool.namespace}`}`;
    const explained = reasons.find(({ route }) => route === pool.route);
    const explanation = ({ id }) => explained && explained.accounts.find(({ credential }) => credential.id === id);
    const parts = [title];
    if (pool.vault.away_since !== null) {
      const away = document.createElement("p");
      const since = new Date(pool.vault.away_since).toLocaleTimeString();
      away.textContent = `The vault can't be read since ${since}. What other programs learn is not shown, and no token is renewed.`;
      parts.push(away);
    }
    return [...parts, ...pool.accounts.map((account) => shown(account, explanation(account)))];
  });
  element("accounts").replaceChildren(...parts);
}

function happened(event) {
  const { at, event: kind, account, request, attempt, ...rest } = event;
  const name = account ? `${account.provider}/${account.label}` : "";
  const line = document.createElement("li");
  const more = Object.entries(rest).filter(([, value]) => typeof value !== "object");
  line.textContent = [new Date(at).toLocaleTimeString(), kind, name, ...more.map((pair) => pair.join("="))].join("  ");
  element("events").prepend(line);
  while (element("events").childElementCount > MOST_EVENTS) {
    element("events").lastElementChild.remove();
  }
}

/** Shows events as they come, until the connection ends. */
async function listen() {
  const reader = (await ask("events")).body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (text + value).split("\n");
    text = lines.pop();
    lines.forEach((line) => happened(JSON.parse(line)));
  }
}

/** Does it for ever, and says what goes wrong. */
async function repeat(work) {
  while (token) {
    try {
      await work();
      tell();
    } catch (error) {
      if (error.status === 401 || error.status === 403) signOut();
      tell(error);
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

function signOut() {
  token = null;
  sessionStorage.removeItem("token");
  update();
}

function update() {
  element("sign-in").hidden = Boolean(token);
  element("accounts").hidden = element("happened").hidden = !token;
}

element("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  token = element("token").value.trim();
  element("token").value = "";
  sessionStorage.setItem("token", token);
  start();
});

function start() {
  update();
  repeat(look);
  repeat(listen);
}

update();
if (token) start();
