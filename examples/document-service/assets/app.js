// The page. It speaks to /api/v1 alone, and puts what it gets into the document as text, never as markup.

const byId = (id) => document.getElementById(id);
const api = "/api/v1";
const page = 20;

let token = sessionStorage.getItem("token");
let jobs = new Map();
let next = null; // where the next page of the listing starts
let shown = null; // the job whose detail is open
let following = null; // ends the stream of events

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function tell(text, where = "alert") {
  byId(where).textContent = text;
  byId(where).hidden = !text;
}

function time(at, options = { dateStyle: "short", timeStyle: "short" }) {
  const when = new Date(at);
  return element("time", { dateTime: at, title: when.toLocaleString(), textContent: when.toLocaleString([], options) });
}

function live(text, on = false) {
  byId("live").textContent = text;
  byId("live").classList.toggle("on", on);
}

async function call(path, options = {}) {
  const used = token;
  const headers = { ...options.headers, authorization: `Bearer ${used}` };
  const answer = await fetch(api + path, { ...options, headers });
  if (used !== token) {
    throw new Error("the session has changed");
  }
  if (answer.status === 401) {
    signOut("Your session is over: sign in again.");
  }
  if (!answer.ok) {
    throw new Error(await reason(answer));
  }
  return answer;
}

async function reason(answer) {
  const body = await answer.json().catch(() => ({}));
  return body.detail ?? `the service answered ${answer.status}`;
}

// Signing in and out

byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  tell("");
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(`${api}/auth/token`, { method: "POST", body });
    if (!answer.ok) {
      throw new Error(await reason(answer));
    }
    token = (await answer.json()).access_token;
    sessionStorage.setItem("token", token);
    form.reset();
    start();
  } catch (error) {
    tell(`Not signed in: ${error.message}`);
  }
});

byId("sign-out").addEventListener("click", () => signOut(""));

function signOut(why) {
  token = null;
  sessionStorage.removeItem("token");
  following?.abort();
  byId("detail").close();
  start();
  tell(why);
}

function start() {
  jobs = new Map();
  next = null;
  tell("");
  byId("sign-in").hidden = Boolean(token);
  byId("service").hidden = byId("sign-out").hidden = !token;
  live("");
  draw();
  if (token) {
    follow();
  } else {
    byId("sign-in").elements.username.focus();
  }
}

// The table

const rows = new Map(); // what is on the page of each job

// Rows stay where they are: neither the focus nor a click that has begun may be lost when others change.
function draw() {
  // Ids follow the time: the newest comes first.
  const listed = [...jobs.values()].filter(passes).sort((a, b) => (a.job_id < b.job_id ? 1 : -1));
  const kept = new Set(listed.map((job) => job.job_id));
  for (const [id, { line }] of rows) {
    if (!kept.has(id)) {
      line.remove();
      rows.delete(id);
    }
  }
  let at = byId("jobs").firstElementChild;
  for (const job of listed) {
    const line = row(job);
    if (line === at) {
      at = at.nextElementSibling;
    } else {
      byId("jobs").insertBefore(line, at);
    }
  }
  byId("none").textContent = byId("status").value ? "No jobs with this status." : "No jobs yet: upload two files.";
  byId("none").hidden = listed.length > 0 || !token;
  byId("more").hidden = !next;
}

function passes(job) {
  const wanted = byId("status").value;
  return !wanted || job.status === wanted;
}

function nameOf(job) {
  return job.payload ? `${job.payload.content_name} – ${job.payload.context_name}` : `job ${job.job_id} (not readable)`;
}

function row(job) {
  const known = rows.get(job.job_id);
  if (known?.job === job) {
    return known.line;
  }
  const line = known?.line ?? element("tr", {}, element("td", {}, opener(job)));
  // The first cell stays: what leaves the document loses the focus.
  while (line.cells.length > 1) {
    line.deleteCell(-1);
  }
  line.append(
    cell("Status", statusOf(job)),
    cell("Progress", ...progressOf(job)),
    cell("Attempts", String(job.attempts)),
    cell("Created", time(job.created_at)),
  );
  rows.set(job.job_id, { job, line });
  return line;
}

function opener(job) {
  const open = element("button", { type: "button", className: "plain", textContent: nameOf(job) });
  open.dataset.job = job.job_id;
  open.addEventListener("click", () => openDetail(job.job_id));
  return open;
}

function cell(label, ...children) {
  const made = element("td", {}, ...children);
  made.dataset.label = label;
  return made;
}

function statusOf(job) {
  const asked = job.cancel_requested && job.status === "IN_PROGRESS";
  const more = job.state === "cancelled" ? " (cancelled)" : job.state === "retryable" ? " (again soon)" : asked ? " (stopping)" : "";
  return element("span", { className: `status ${job.status}`, textContent: job.status + more });
}

function progressOf(job) {
  if (job.status !== "IN_PROGRESS" || !job.progress) {
    return [];
  }
  const { done, total, message } = job.progress;
  const bar = element("progress", { max: total ?? 1, value: done });
  bar.setAttribute("aria-label", message ?? "Progress");
  return [bar, ` ${message ?? ""}`];
}

let asked = 0; // listings, of which the last one counts
let news = 0; // jobs that events have told of

async function list(after) {
  const mine = ++asked;
  const began = news;
  const query = new URLSearchParams({ limit: page });
  if (byId("status").value) {
    query.set("status", byId("status").value);
  }
  if (after) {
    query.set("after", after);
  }
  const session = token;
  const listed = await (await call(`/jobs?${query}`)).json();
  if (mine !== asked || session !== token) {
    return false;
  }
  // What an event told meanwhile is newer.
  const newer = new Map([...jobs].filter(([, job]) => job.news > began));
  if (!after) {
    jobs = new Map();
  }
  for (const job of listed.items) {
    jobs.set(job.job_id, job);
  }
  for (const [id, job] of newer) {
    jobs.set(id, job);
  }
  next = listed.next;
  draw();
  return !after;
}

const report = (error) => tell(error.message);
byId("status").addEventListener("change", () => list().catch(report));
byId("more").addEventListener("click", () => list(next).catch(report));

// Live: events over fetch, since an EventSource sends no token

async function follow() {
  following?.abort();
  const mine = (following = new AbortController());
  let last = null;
  let listed = false;
  let pause = 500;
  while (!mine.signal.aborted) {
    try {
      const headers = last ? { "last-event-id": last } : {};
      const answer = await call("/events", { headers, signal: mine.signal });
      for await (const event of parse(answer.body)) {
        last = event.id ?? last;
        pause = 500;
        listed &&= event.event !== "reload";
        // The listing is read after the stream has begun, so nothing falls in between; again if that fails.
        if (!listed && (event.event === "ready" || event.event === "reload")) {
          // Another listing may have been asked for meanwhile, which is not of all.
          while (!(await list())) {}
          listed = true;
        }
        await heard(event);
      }
    } catch (error) {
      if (mine.signal.aborted) {
        return;
      }
    }
    live("Reconnecting…");
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 15_000);
  }
}

async function* parse(body) {
  let text = "";
  for await (const chunk of chunks(body.pipeThrough(new TextDecoderStream()))) {
    text += chunk;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split("\n")) {
        const [, field, value] = line.match(/^(event|id|data): ?(.*)$/) ?? [];
        if (field) {
          event[field] = value;
        }
      }
      if (event.event) {
        yield event;
      }
    }
  }
}

const silence = 45_000; // the service says something every 15 s

// Not every browser can iterate over a stream. A connection may die without a word: one that is silent for long is given up.
async function* chunks(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      let timer;
      const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error("The connection is silent")), silence);
      });
      const read = await Promise.race([reader.read(), late]).finally(() => clearTimeout(timer));
      if (read.done) {
        return;
      }
      yield read.value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function heard(event) {
  if (event.event === "ready") {
    live("Live", true);
  }
  if (event.event === "job") {
    const job = { ...JSON.parse(event.data), news: ++news };
    jobs.set(job.job_id, job);
    draw();
    if (shown === job.job_id) {
      await drawDetail().catch(() => {});
    }
  }
}

// Uploads

let repeated = null; // the key of an upload that may or may not have arrived

for (const drop of document.querySelectorAll(".drop")) {
  const mark = (over) => (event) => {
    event.preventDefault();
    drop.classList.toggle("over", over);
  };
  drop.addEventListener("dragover", mark(true));
  drop.addEventListener("dragleave", mark(false));
  drop.addEventListener("drop", (event) => {
    mark(false)(event);
    if (event.dataTransfer.files.length > 0) {
      const files = new DataTransfer();
      files.items.add(event.dataTransfer.files[0]);
      repeated = null; // no change is told of what a script chooses
      drop.querySelector("input").files = files.files;
    }
  });
}

byId("upload").addEventListener("change", () => (repeated = null));

byId("upload").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const [button] = form.getElementsByTagName("button");
  tell("");
  button.disabled = true;
  sent(0);
  repeated ??= Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("-");
  try {
    await send(new FormData(form), repeated);
    repeated = null;
    form.reset();
    byId("sent-text").textContent = "Uploaded.";
  } catch (error) {
    byId("sent-text").textContent = "";
    if (error.refused) {
      repeated = null;
    }
    tell(`Not uploaded: ${error.message}`);
  }
  button.disabled = false;
  byId("sent").hidden = true;
});

// How much of an upload is on its way.
function sent(part) {
  byId("sent").hidden = false;
  byId("sent").value = part;
  byId("sent-text").textContent = part < 1 ? `${Math.floor(part * 100)} %` : "Sent, being stored…";
}

function send(form, key) {
  // fetch can't tell how much has been sent.
  const request = new XMLHttpRequest();
  request.open("POST", `${api}/jobs/upload`);
  request.setRequestHeader("authorization", `Bearer ${token}`);
  request.setRequestHeader("idempotency-key", key);
  request.responseType = "json";
  request.upload.addEventListener("progress", ({ loaded, total }) => sent(total ? loaded / total : 0));
  return new Promise((resolve, reject) => {
    request.addEventListener("error", () => reject(new Error("the connection broke; try again, unless the files are very large")));
    request.addEventListener("load", () => {
      if (request.status === 201) {
        resolve();
      } else if (request.status === 401) {
        signOut("Your session is over: sign in again.");
        reject(new Error("sign in again"));
      } else {
        const error = new Error(request.response?.detail ?? `the service answered ${request.status}`);
        error.refused = request.status < 500;
        reject(error);
      }
    });
    request.send(form);
  });
}

// A job's detail

async function openDetail(id) {
  shown = id;
  tell("", "detail-alert");
  try {
    await drawDetail();
    byId("detail").showModal();
  } catch (error) {
    report(error);
  }
}

byId("close").addEventListener("click", () => byId("detail").close());
byId("detail").addEventListener("close", () => {
  rows.get(shown)?.line.querySelector("button").focus();
  shown = null;
});

let result = null;

let drawn = 0; // reads of the detail, of which the last one counts

async function drawDetail() {
  const id = shown;
  const mine = ++drawn;
  const job = await (await call(`/jobs/${id}`)).json();
  if (id !== shown || mine !== drawn) {
    return;
  }
  result = job.result_content;
  byId("cancel").disabled = job.finished_at !== null || job.cancel_requested;
  byId("retry").disabled = job.status === "COMPLETED" || job.status === "IN_PROGRESS";
  byId("save").disabled = !result;
  const facts = element("dl");
  const fact = (name, ...value) => facts.append(element("dt", { textContent: name }), element("dd", {}, ...value));
  fact("Id", job.job_id);
  fact("Status", statusOf(job));
  fact("Attempts", String(job.attempts));
  fact("Created", time(job.created_at));
  if (job.finished_at) {
    fact("Finished", time(job.finished_at));
  }
  byId("detail-title").textContent = nameOf(job);
  for (const [name, part] of job.payload ? [["Content", "content"], ["Context", "context"]] : []) {
    fact(name, `${job.payload[`${part}_name`]} (${job.payload[`${part}_key`]})`);
  }
  if (job.result_path) {
    fact("Result", job.result_path);
  }
  const parts = [facts];
  if (job.errors.length > 0) {
    const lines = job.errors.map((e) => element("li", { textContent: e.attempt ? `attempt ${e.attempt}: ${e.message}` : e.message }));
    parts.push(element("h3", { textContent: "Errors" }), element("ol", { id: "errors" }, ...lines));
  }
  const clock = { timeStyle: "medium" };
  const steps = job.timeline.map((step) => element("li", {}, time(step.at, clock), ` ${step.what}`));
  parts.push(element("h3", { textContent: "Timeline" }), element("ol", { id: "timeline" }, ...steps));
  if (result) {
    parts.push(...resultOf(result));
  }
  byId("facts").replaceChildren(...parts);
}

function resultOf({ content, context, comparison }) {
  const { diff, similarity, shared_terms: terms } = comparison;
  const figures = { lines: "Lines", words: "Words", distinct_terms: "Different terms", bytes: "Bytes" };
  const line = (name, ...values) => {
    const cells = values.map((value) => element("td", { textContent: value.toLocaleString() }));
    return element("tr", {}, element("th", { scope: "row", textContent: name }), ...cells);
  };
  const heads = ["", "Content", "Context"].map((textContent) => element("th", { scope: "col", textContent }));
  const lines = Object.entries(figures).map(([key, name]) => line(name, content[key], context[key]));
  const parts = [
    element("h3", { textContent: "Result" }),
    element("p", { textContent: `Similarity: ${(similarity * 100).toFixed(1)} %` }),
    element("table", { id: "figures" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines)),
  ];
  if (terms.length > 0) {
    parts.push(element("p", { textContent: `Shared terms: ${terms.map((shared) => shared.term).join(", ")}` }));
  }
  if (diff) {
    const kinds = { "+": "add", "-": "del" };
    const marked = diff.split("\n").map((text) => element("span", { className: kinds[text[0]] ?? "", textContent: `${text}\n` }));
    parts.push(element("h3", { textContent: "Differences" }), element("pre", { id: "diff", tabIndex: 0 }, ...marked));
  }
  const whole = element("pre", { id: "result", tabIndex: 0, textContent: JSON.stringify(result, null, 2) });
  parts.push(element("details", {}, element("summary", { textContent: "result.json" }), whole));
  return parts;
}

for (const action of ["cancel", "retry"]) {
  byId(action).addEventListener("click", async () => {
    tell("", "detail-alert");
    try {
      await call(`/jobs/${shown}/${action}`, { method: "POST" });
      await drawDetail();
    } catch (error) {
      tell(error.message, "detail-alert");
    }
  });
}

byId("save").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([JSON.stringify(result, null, 2)], { type: "application/json" }));
  element("a", { href: url, download: "result.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
});

start();
