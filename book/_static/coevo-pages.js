// On every page: what scrolls can be reached with the keyboard and has a name, and nothing else is a stop.
(() => {
  "use strict";

  function scrolls(box) {
    const { overflowX, overflowY } = getComputedStyle(box);
    const may = (overflow) => overflow === "auto" || overflow === "scroll";
    return (box.scrollWidth > box.clientWidth + 1 && may(overflowX)) || (box.scrollHeight > box.clientHeight + 1 && may(overflowY));
  }
  const inside = "a[href], button, input, select, textarea, summary";

  function wordFor(box) {
    if (box.matches("mjx-container, .math, p, dd, li")) return "formula";
    if (box.matches("table") || box.querySelector("table")) return "table";
    return box.matches(".cell_output *") ? "output" : "code";
  }

  function reach() {
    // MathJax makes every formula a stop, for a menu that the mouse opens too: hundreds on a page.
    for (const box of document.querySelectorAll("main :is(mjx-container, .math, pre, table, p, dd, li, .output, .pst-scrollable-table-container)")) {
      if (scrolls(box) && !box.querySelector(inside)) {
        box.tabIndex = 0;
        if (!box.matches("table")) box.setAttribute("role", "group");
        box.setAttribute("aria-label", `${wordFor(box)}, scrolls`);
      } else if (box.hasAttribute("tabindex")) {
        box.removeAttribute("tabindex");
      }
    }
  }

  function mendRoles() {
    // A role that ARIA 1.3 gives up, on entries of a list.
    for (const entry of document.querySelectorAll("[role='doc-biblioentry']")) entry.setAttribute("role", "listitem");
  }

  // A figure leads to its file: on a phone that is how its small letters are read.
  function linkFigures() {
    for (const image of document.querySelectorAll("main :is(figure, .cell_output) img")) {
      if (image.closest("a")) continue;
      const link = document.createElement("a");
      link.href = image.src;
      link.title = "Open the picture alone";
      image.replaceWith(link);
      link.append(image);
    }
  }

  // From a file the search may not open the pages it found: it lists them without an excerpt, and without errors.
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined")
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

  window.addEventListener("load", async () => {
    mendRoles();
    linkFigures();
    if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
    await document.fonts.ready;
    const article = document.querySelector("main");
    if (article) new ResizeObserver(() => requestAnimationFrame(reach)).observe(article);  // at once, then at each change
  });
})();
