"use strict";
// Times in the reader's own zone and language, and an honest word on whether the page is live. The server says the rest.
(() => {
  const lang = document.documentElement.lang;
  const relative = new Intl.RelativeTimeFormat(lang, { numeric: "auto", style: "short" });
  const absolute = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "medium" });
  const brief = new Intl.DateTimeFormat(lang, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  let skew = 0; // milliseconds that this machine's clock is ahead of the server's

  function ago(at) {
    const seconds = (at - (Date.now() - skew)) / 1000;
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? units[3];
    return relative.format(Math.trunc(seconds / size), unit);
  }

  function showTimes() {
    for (const element of document.querySelectorAll("time[data-form]")) {
      const at = new Date(element.dateTime);
      const text = element.dataset.form === "at" ? brief.format(at) : ago(at);
      if (element.textContent !== text) element.textContent = text;
      element.title = absolute.format(at);
    }
  }

  function arrived() {
    const told = document.querySelector("[data-now]");
    if (told) skew = Date.now() - new Date(told.dataset.now);
    showTimes();
  }

  const stream = document.getElementById("events");
  let connected = false;
  let answered = true;

  function showStream() {
    stream.hidden = false;
    stream.classList.toggle("lost", !(connected && answered));
  }

  function on(name, act) {
    document.addEventListener(name, (event) => {
      act(event);
      showStream();
    });
  }

  if (stream) {
    on("htmx:sse:after:connection", () => (connected = true));
    on("htmx:sse:error", () => (connected = false));
    on("htmx:sse:close", () => (connected = false));
    on("htmx:error", () => (answered = false));
    on("htmx:response:error", (event) => {
      answered = false;
      if (event.detail.ctx?.response?.status === 401) location.reload(); // the session ended: ask for the key again
    });
    on("htmx:after:swap", (event) => {
      if (event.detail.ctx?.response?.status >= 400) return; // told here as well, though nothing was swapped
      answered = true;
      arrived();
    });
    setInterval(showTimes, 5000);
    arrived();
  }
})();
