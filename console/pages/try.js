import { $, ask, bytes, data, el, facts, foreign, long, number, say } from "./common.js";

const LOOK_MS = 500;
const LOOKS = 60;

const routes = data.streams.flatMap((stream) => stream.routes.map((route) => ({ ...route, stream })));
let round = 0;

/** What a field's input stands for, as JSON; null if it is left out. */
function literal(field, text) {
  if (text === "") return null;
  const one = (type) => field.types.includes(type);
  const isNumber = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/.test(text);
  if (one("string") || one("coordinates")) return JSON.stringify(text);
  if ((one("integer") || one("number")) && isNumber) return text;
  if (one("boolean") && (text === "true" || text === "false")) return text;
  try {
    JSON.parse(text);
    return text;
  } catch {
    return JSON.stringify(text);
  }
}

function hint(field) {
  const parts = [field.types.length ? field.types.map((type) => say(`type.${type}`)).join(" / ") : say("type.any")];
  if (field.required) parts.push(say("try.required"));
  if (field.types.includes("string")) parts.push(say("try.most", bytes(field.max_bytes)));
  if (field.min != null) parts.push(`≥ ${field.min}`);
  if (field.max != null) parts.push(`≤ ${field.max}`);
  if (field.aliases.length) parts.push(say("try.aliases", field.aliases.join(", ")));
  return parts.join(" · ");
}

function input(field, i) {
  const id = `field-${i}`;
  const described = { id, "aria-describedby": `${id}-hint`, "data-field": field.name, input: write };
  const options = field.values.length ? field.values : field.types.length === 1 && field.types[0] === "boolean" ? ["true", "false"] : null;
  const isLong = field.types.includes("object") || field.types.includes("array") || field.max_bytes > 512 && field.types.includes("string");
  const control = options
    ? el("select", described, el("option", { value: "" }, "–"), ...options.map((value) => el("option", { value }, value)))
    : isLong ? el("textarea", { ...described, rows: "2" }) : el("input", { ...described, type: "text", autocomplete: "off" });
  if (field.required) control.setAttribute("aria-required", "true");
  return el("div", { class: "field" }, el("label", { for: id }, field.name, field.required ? " *" : ""), control, el("p", { class: "hint", id: `${id}-hint` }, hint(field)));
}

const route = () => routes[$("route").selectedIndex];

/** The JSON, from the form. */
function write() {
  const parts = route().stream.fields.map((field, i) => [field.name, literal(field, $(`field-${i}`).value)]);
  const lines = parts.filter(([, value]) => value != null).map(([name, value]) => `  ${JSON.stringify(name)}: ${value}`);
  $("json").value = lines.length ? `{\n${lines.join(",\n")}\n}` : "{}";
}

function choose() {
  const { stream } = route();
  $("fields").replaceChildren($("fields").firstElementChild, ...stream.fields.map(input));
  $("key-label").hidden = !stream.keys;
  write();
}

function headers(pairs) {
  return facts(pairs.map(([name, value]) => [name, value]));
}

async function follow(stream, record, box, mine) {
  const known = [["id", record.id], [say("try.kafka"), say("try.place", record.topic, number(record.partition), number(record.offset))]];
  const status = el("p", {}, say("try.waiting"));
  box.append(facts(known), status);
  for (let look = 0; look < LOOKS && mine === round; look += 1) {
    try {
      const found = await ask(`/api/log/${encodeURIComponent(stream)}/${record.id}`);
      status.className = "well";
      status.textContent = say("try.archived", number(found.partition), number(found.offset));
      box.append(long(found.text, say("log.document")));
      return;
    } catch (error) {
      if (error.status !== 404) status.textContent = error.message;
    }
    await new Promise((done) => setTimeout(done, LOOK_MS));
  }
  if (mine === round) status.textContent = say("try.not-yet");
}

async function send(event) {
  event.preventDefault();
  const mine = (round += 1);
  const { path, stream } = route();
  const body = $("json").value;
  $("went").replaceChildren();
  if (new Blob([body]).size > data.bytes_max) {
    $("answer").replaceChildren(el("p", { class: "wrong" }, say("try.too-large", bytes(data.bytes_max))));
    return;
  }
  $("answer").replaceChildren(el("p", { class: "lead" }, say("try.sending")));
  const fields = { "content-type": "application/json" };
  if ($("idempotency").value) fields["idempotency-key"] = $("idempotency").value;
  if (stream.keys && $("key").value) fields.authorization = `Bearer ${$("key").value}`;
  try {
    const told = await ask(`/api/try?path=${encodeURIComponent(path)}`, { method: "POST", headers: fields, body });
    const good = told.status >= 200 && told.status < 300;
    $("answer").replaceChildren(
      el("h3", {}, say("try.request")),
      el("p", {}, el("code", {}, `${told.request.method} ${told.request.path}`), ` → ${told.request.to}, ${bytes(told.request.bytes)}`),
      headers(told.request.headers),
      el("h3", {}, say("try.answered")),
      el("p", { class: good ? "well" : "wrong", id: "status" }, el("strong", {}, String(told.status))),
      headers(told.headers),
      long(told.body, say("try.answered")));
    const records = told.records ?? [];
    $("went").replaceChildren(records.length ? "" : el("p", { class: "lead" }, say("try.nowhere")));
    for (const record of records.slice(0, 5)) follow(told.stream, record, $("went"), mine);
  } catch (error) {
    $("answer").replaceChildren(el("p", { class: "wrong" }, foreign(error.message)));
  }
}

$("route").replaceChildren(...routes.map(({ path, via, stream }) => el("option", {}, `${path} (${stream.name}, ${via})`)));
const asked = new URLSearchParams(location.search).get("stream");
$("route").selectedIndex = Math.max(0, routes.findIndex((one) => one.stream.name === asked));
$("route").addEventListener("change", choose);
$("form").addEventListener("submit", send);
choose();
