"use strict";
// Sorts and filters tables, shows the seeds behind a mean, leads to runs and back, zooms and copies.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const say = (text) => { byId("said").textContent = text; };
  for (const element of all("form[hidden], button[data-copy][hidden], .copy[hidden]")) element.hidden = false;

  // A heading sorts by its column: the better end first, then the other end, then the order of the page.
  const numeric = /^[-−]?[\d.,]*\d/;
  const key = (cell) => {
    if ("order" in cell.dataset) return Number(cell.dataset.order);
    const text = cell.textContent.trim();
    if (text === "" || text === "–") return null;
    return numeric.test(text) ? parseFloat(text.replace("−", "-").replaceAll(",", "")) : text;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  const sort = (head, place) => {
    const table = head.closest("table");
    const first = head.dataset.better === "higher" ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const now = { [first]: second, [second]: "" }[head.getAttribute("aria-sort")] ?? first;
    for (const other of all("thead th", table)) other.removeAttribute("aria-sort");
    if (now) head.setAttribute("aria-sort", now);
    for (const body of table.tBodies) {
      body.given ??= [...body.rows];
      const rows = body.given.map((row) => [key(row.cells[place]), row]);
      if (now) rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : (now === "ascending" ? 1 : -1) * compare(a, b));
      body.append(...rows.map(([, row]) => row));
    }
    say(now ? `Sorted by ${head.firstChild.firstChild.textContent.trim()}, ${now}.` : "In the order of the page.");
  };
  for (const head of all("table.sortable thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(head, head.cellIndex));
  }

  // The filter hides panels of other data sets, other tables, and rows of other methods.
  const form = document.querySelector("form.filter");
  const filter = () => {
    const [dataset, table] = ["dataset", "table"].map((name) => byId(`filter/${name}`).value);
    const words = byId("filter/method").value.toLowerCase().split(",").map((word) => word.trim()).filter(Boolean);
    const differs = (element) =>
      words.length > 0 && !words.some((word) => element.dataset.method.toLowerCase().includes(word));
    for (const element of all("[data-table]")) {
      element.hidden = table !== "" && element.dataset.table !== table;
      if (table !== "" && !element.hidden && element.localName === "details") element.open = true;
    }
    for (const element of all(".panel, .picture")) {
      element.hidden = dataset !== "" && element.dataset.dataset !== "" && element.dataset.dataset !== dataset;
    }
    for (const group of all(".group")) {
      group.hidden = (dataset !== "" && group.dataset.dataset !== dataset) || differs(group);
    }
    for (const row of all("tr[data-method]")) row.hidden = differs(row);
    const rows = all("tr[data-method]");
    const shown = rows.filter((row) => !row.closest("[hidden]")).length;
    byId("filter/count").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  const unfold = form.querySelector("[data-unfold]");
  unfold.addEventListener("click", () => {
    const opens = unfold.getAttribute("aria-pressed") === "false";
    unfold.setAttribute("aria-pressed", String(opens));
    for (const element of all("#tables details.table")) element.open = opens;
  });

  // The seeds behind a mean: on hover, on focus, and on a first tap.
  const tip = byId("tip");
  let tipped = null;
  const hide = () => {
    tipped?.removeAttribute("aria-describedby");
    tip.hidden = true;
    tipped = null;
  };
  const show = (link) => {
    if (tipped === link) return;
    hide();
    if (link.title) {
      link.dataset.seeds = link.title;
      link.removeAttribute("title");
    }
    tip.textContent = link.dataset.seeds;
    tip.hidden = false;
    tipped = link;
    link.setAttribute("aria-describedby", "tip");
    place();
  };
  const place = () => {
    if (!tipped) return;
    const at = tipped.getBoundingClientRect();
    const below = at.bottom + tip.offsetHeight <= innerHeight;
    tip.style.top = `${Math.max(0, below ? at.bottom : at.top - tip.offsetHeight)}px`;
    tip.style.left = `${Math.max(8, Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8))}px`;
  };
  const measured = (event) => event.target instanceof Element ? event.target.closest("td > a") : null;
  document.addEventListener("pointerover", (event) => {
    const link = measured(event);
    if (link && event.pointerType !== "touch") show(link);
    else if (!link && event.target !== tip && document.activeElement !== tipped) hide();
  });
  document.addEventListener("focusin", (event) => {
    const link = measured(event);
    if (link) show(link);
    else hide();
  });
  document.addEventListener("scroll", place, { capture: true, passive: true });
  addEventListener("resize", place);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });

  // A number leads to its runs, and from there one comes back to it.
  const from = document.querySelector(".from");
  let origin = null;
  let before = "";
  const labelOf = (link) => {
    const cell = link.closest("td");
    const table = link.closest("table");
    const head = table.tHead.rows[0].cells[cell.cellIndex];
    return [table.caption.firstChild.textContent, cell.parentElement.cells[0].firstChild.textContent,
      (head.querySelector("button") ?? head).firstChild.textContent.trim()].join(", ");
  };
  let touched = null;
  document.addEventListener("pointerdown", (event) => {
    touched = event.pointerType === "touch" && measured(event) !== tipped ? measured(event) : null;
  }, { capture: true });
  document.addEventListener("click", (event) => {
    const link = measured(event);
    if (!link) return;
    if (link === touched) {
      touched = null;
      event.preventDefault();
      show(link);
      return;
    }
    origin = link;
    before = location.hash;
    const seeds = (link.dataset.seeds ?? link.title).replaceAll("\n", ", ");
    from.querySelector("span").textContent = `${labelOf(link)}: ${link.textContent} (${seeds})`;
    from.hidden = false;
    hide();
    if (link.hash === location.hash) reveal();
  });
  const target = () => {
    try {
      return byId(decodeURIComponent(location.hash.slice(1)));
    } catch {
      return null;
    }
  };
  const reveal = () => {
    const found = target();
    if (!found) return;
    for (let element = found; element; element = element.parentElement) {
      if (element.localName === "details") element.open = true;
    }
    if (found.matches(".within")) found.focus();
    if (!found.matches(".runs, .run > div")) return;
    const group = found.closest(".group");
    group.hidden = false;
    if (origin?.hash === location.hash) group.before(from);
    else from.hidden = true;
    (from.hidden ? found : from).scrollIntoView();
    // The browser has focused it before this event: whoever was quick with Tab is inside by now.
    if (!found.contains(document.activeElement)) found.focus({ preventScroll: true });
  };
  addEventListener("hashchange", () => {
    if (origin && location.hash === before) {
      const link = origin;
      origin = null;
      from.hidden = true;
      link.focus({ preventScroll: true });
      link.scrollIntoView({ block: "center" });
    } else reveal();
  });
  from.querySelector("button").addEventListener("click", () => {
    if (location.hash === before) origin?.focus();
    else history.back();
  });
  if (location.hash) reveal();

  // Figures zoom in a dialog.
  const dialog = document.querySelector("dialog");
  const canvas = dialog.querySelector(".canvas");
  const size = dialog.querySelector("[data-size]");
  const resize = (full) => {
    canvas.classList.toggle("full", full);
    size.setAttribute("aria-pressed", String(full));
  };
  for (const image of all(".picture > img")) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Zoom: ${image.alt}`);
    image.replaceWith(button);
    button.append(image);
    button.addEventListener("click", () => {
      const large = canvas.querySelector("img");
      large.src = image.src;
      large.alt = image.alt;
      byId("zoomed/title").textContent = image.alt;
      resize(false);
      dialog.showModal();
    });
  }
  size.addEventListener("click", () => resize(!canvas.classList.contains("full")));
  canvas.querySelector("img").addEventListener("click", () => resize(!canvas.classList.contains("full")));
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());

  // Copies what a button names; where the browser does not let it, marks it for Ctrl+C.
  const mark = (element) => {
    for (let above = element; above; above = above.parentElement) if (above.localName === "details") above.open = true;
    const range = document.createRange();
    range.selectNodeContents(element);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    element.focus();
  };
  for (const button of all("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = byId(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
        say(`Copied ${button.dataset.what}.`);
        const words = button.firstChild.textContent;
        button.firstChild.textContent = "Copied";
        setTimeout(() => { button.firstChild.textContent = words; }, 1500);
      } catch {
        mark(source);
        say(`Press Ctrl+C to copy ${button.dataset.what}.`);
      }
    });
  }
})();
