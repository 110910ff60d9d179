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

function time(at) {
  return element("time", { dateTime: at, textContent: new Date(at).toLocaleString() });
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
  byId("live").textContent = "";
  draw();
  if (token) {
    follow();
  } else {
    byId("sign-in").elements.username.focus();
  }
}

// The table

function draw() {
  // Ids follow the time: the newest comes first.
  const listed = [...jobs.values()].filter(passes).sort((a, b) => (a.job_id < b.job_id ? 1 : -1));
  const focused = document.activeElement?.dataset?.job;
  byId("jobs").replaceChildren(...listed.map(row));
  byId("none").hidden = listed.length > 0 || !token;
  byId("more").hidden = !next;
  if (focused) {
    document.querySelector(`[data-job="${CSS.escape(focused)}"]`)?.focus();
  }
}

function passes(job) {
  const wanted = byId("status").value;
  return !wanted || job.status === wanted;
}

function row(job) {
  const { content_name: content, context_name: context } = job.payload;
  const open = element("button", { className: "plain", textContent: `${content} – ${context}` });
  open.dataset.job = job.job_id;
  open.addEventListener("click", () => openDetail(job.job_id));
  return element(
    "tr",
    {},
    element("td", {}, open),
    cell("Status", statusOf(job)),
    cell("Progress", progressOf(job)),
    cell("Attempts", String(job.attempts)),
    cell("Created", time(job.created_at)),
  );
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
    return "";
  }
  const { done, total, message } = job.progress;
  const bar = element("progress", { max: total ?? 1, value: done });
  bar.setAttribute("aria-label", message ?? "Progress");
  return element("span", {}, bar, ` ${message ?? ""}`);
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
    return;
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
          await list();
          listed = true;
        }
        await heard(event);
      }
    } catch (error) {
      if (mine.signal.aborted) {
        return;
      }
    }
    byId("live").textContent = "Reconnecting…";
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

// Not every browser can iterate over a stream.
async function* chunks(stream) {
  const reader = stream.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    yield read.value;
  }
}

async function heard(event) {
  if (event.event === "ready") {
    byId("live").textContent = "Live";
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
  byId("sent").hidden = false;
  repeated ??= Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("-");
  try {
    await send(new FormData(form), repeated);
    repeated = null;
    form.reset();
  } catch (error) {
    if (error.refused) {
      repeated = null;
    }
    tell(`Not uploaded: ${error.message}`);
  }
  button.disabled = false;
  byId("sent").hidden = true;
});

function send(form, key) {
  // fetch can't tell how much has been sent.
  const request = new XMLHttpRequest();
  request.open("POST", `${api}/jobs/upload`);
  request.setRequestHeader("authorization", `Bearer ${token}`);
  request.setRequestHeader("idempotency-key", key);
  request.responseType = "json";
  request.upload.addEventListener("progress", (sent) => (byId("sent").value = sent.loaded / sent.total));
  return new Promise((resolve, reject) => {
    request.addEventListener("error", () => reject(new Error("the connection broke; try again")));
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
byId("detail").addEventListener("close", () => (shown = null));

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
  fact("Content", `${job.payload.content_name} (${job.payload.content_key})`);
  fact("Context", `${job.payload.context_name} (${job.payload.context_key})`);
  if (job.result_path) {
    fact("Result", job.result_path);
  }
  const parts = [facts];
  if (job.errors.length > 0) {
    const lines = job.errors.map((e) => element("li", { textContent: `attempt ${e.attempt}: ${e.message}` }));
    parts.push(element("h3", { textContent: "Errors" }), element("ol", { id: "errors" }, ...lines));
  }
  const steps = job.timeline.map((step) => element("li", {}, time(step.at), ` ${step.what}`));
  parts.push(element("h3", { textContent: "Timeline" }), element("ol", { id: "timeline" }, ...steps));
  if (result) {
    const { diff, ...figures } = result.comparison;
    parts.push(element("h3", { textContent: "Result" }));
    parts.push(element("pre", { id: "result", tabIndex: 0, textContent: JSON.stringify({ ...result, comparison: figures }, null, 2) }));
    if (diff) {
      parts.push(element("h3", { textContent: "Differences" }), element("pre", { id: "diff", tabIndex: 0, textContent: diff }));
    }
  }
  byId("facts").replaceChildren(...parts);
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
