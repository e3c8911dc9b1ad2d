// Keys: / finds, g and a letter opens a page, j and k go through rows, ? lists them.
let goes = 0;
const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]");
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const key = event.key;
  if (performance.now() - goes < 1500) {
    const place = document.querySelector(`.rail nav a[data-key="${CSS.escape(key)}"]`);
    goes = 0;
    if (place) { event.preventDefault(); place.click(); return; }
  }
  if (key === "/") { event.preventDefault(); document.querySelector(".search input").select(); }
  else if (key === "g") goes = performance.now();
  else if (key === "?") document.getElementById("keys").showModal();
  else if (key === "j" || key === "k") {
    const links = [...document.querySelectorAll("[data-rows] tbody tr a:first-of-type")].filter((each, place, all) => all.findIndex((other) => other.closest("tr") === each.closest("tr")) === place);
    if (!links.length) return;
    const at = links.findIndex((each) => each.closest("tr").contains(document.activeElement));
    links[Math.min(Math.max(at + (key === "j" ? 1 : -1), 0), links.length - 1)].focus();
  }
});
const choice = document.querySelector("[data-theme-choice]");
if (choice) choice.value = document.documentElement.dataset.theme ?? "system";
// A part that is loaded again says so when it cannot be, and goes on trying.
document.addEventListener("htmx:sendError", () => document.body.classList.add("stale"));
document.addEventListener("htmx:afterSwap", () => document.body.classList.remove("stale"));
