(() => {
  "use strict";
  const one = (id) => document.getElementById(id);
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const [find, only, shown] = [one("find"), one("only"), one("shown")];
  const rows = all("[data-find]"), groups = all("[data-group]"), bad = all("details[data-bad]");

  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows)
      row.hidden = (only.checked && !("bad" in row.dataset)) || !words.every((word) => row.dataset.find.includes(word));
    for (const group of groups) group.hidden = !all("[data-find]", group).some((row) => !row.hidden);
    document.body.classList.toggle("only", only.checked);
    const cases = rows.filter((row) => row.tagName === "ARTICLE");
    shown.value = `${cases.filter((row) => !row.hidden).length} of ${cases.length} cases`;
  }

  function go(name) {
    const place = name && one(name);
    if (!place) return;
    if (place.closest("[hidden]") || (only.checked && place.matches("details:not([data-bad])"))) {
      find.value = "";
      only.checked = false;
      filter();
    }
    if (place.tagName === "DETAILS") {
      place.open = true;
      place.firstElementChild.focus({ preventScroll: true });
    }
    place.scrollIntoView({ block: "start" });
  }

  function nextBad(step) {
    const open = bad.filter((result) => !result.closest("[hidden]"));
    if (!open.length) return;
    const here = open.indexOf(document.activeElement.closest("details[data-bad]"));
    const next = open[(here < 0 && step < 0 ? 0 : here + step + open.length) % open.length];
    history.replaceState(null, "", `#${next.id}`);
    go(next.id);
  }

  const keys = {
    "/": () => find.focus(),
    f: () => { only.checked = !only.checked; filter(); },
    n: () => nextBad(1),
    p: () => nextBad(-1),
  };

  one("tools").hidden = false;
  find.addEventListener("input", filter);
  only.addEventListener("change", filter);
  one("open").addEventListener("click", () => all("article:not([hidden]) > .result").forEach((result) => (result.open = true)));
  one("close").addEventListener("click", () => all(".result, .message").forEach((result) => (result.open = false)));
  for (const button of all("button.messages")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const messages = all(".message", button.closest(".inside"));
      const open = messages.some((message) => !message.open);
      messages.forEach((message) => (message.open = open));
    });
  }
  addEventListener("hashchange", () => go(decodeURIComponent(location.hash.slice(1))));
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.activeElement === find) { find.value = ""; filter(); find.blur(); }
    if (event.ctrlKey || event.metaKey || event.altKey || document.activeElement === find || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.addEventListener("click", (event) => { // a link to the place where one is already changes no hash
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) { event.preventDefault(); go(decodeURIComponent(link.hash.slice(1))); }
  });
  filter();
  go(decodeURIComponent(location.hash.slice(1)));
})();
