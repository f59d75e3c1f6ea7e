"use strict";
// Brings what is at work up to date; the page too when runs have ended, unless somebody is in the middle of reading.
(() => {
  const section = document.getElementById("live");
  const [content, offer] = section.children;
  const versionOf = (element) => element.querySelector("[data-version]").dataset.version;
  const version = versionOf(content);
  const said = document.getElementById("said");
  let text = "";
  const isRead = () =>
    document.querySelector("main details[open], dialog[open], [aria-sort], .from:not([hidden])") !== null ||
    document.getElementById("filter/count").textContent !== "" || getSelection().toString() !== "";
  offer.querySelector("button").addEventListener("click", () => location.reload());
  const show = (given) => {
    if (given === text) return;
    const before = content.querySelector("[data-version]").textContent;
    content.replaceChildren(...new DOMParser().parseFromString(given, "text/html").body.childNodes);
    const now = content.querySelector("[data-version]").textContent;
    if (now !== before) said.textContent = now;
    text = given;
    if (versionOf(content) === version) return;
    if (isRead()) offer.hidden = false;
    else location.reload();
  };
  const ask = async () => {
    let wait = 2000;
    try {
      const answer = await fetch("live");
      if (!answer.ok) throw new Error(answer.statusText);
      show(await answer.text());
    } catch {
      wait = 10000;
      const summary = content.querySelector("[data-version]");
      if (!summary.dataset.lost) summary.textContent += " (as it was last; nobody serves this page any more)";
      summary.dataset.lost = "yes";
      text = "";
    }
    setTimeout(ask, wait);
  };
  setTimeout(ask, 2000);
})();
