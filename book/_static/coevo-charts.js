// Draws the interactive charts of a page (see book/_ext/vegalite.py) with the vendored Vega, Vega-Lite and Vega-Embed.
(() => {
  "use strict";

  // Everything that is not data takes the colour of the surrounding text, so a change of theme needs no redrawing.
  const ink = "currentColor";
  const config = {
    background: "transparent",
    font: getComputedStyle(document.body).fontFamily,  // by name: Vega measures its labels on a canvas, which knows no "inherit"
    axis: {
      labelColor: ink, titleColor: ink, domainColor: ink, tickColor: ink, gridColor: ink, gridOpacity: 0.15,
      labelFontSize: 13, titleFontSize: 14, titleFontWeight: "normal",
    },
    header: { labelColor: ink, titleColor: ink, labelFontSize: 13, titleFontSize: 14 },
    legend: { labelColor: ink, titleColor: ink, labelFontSize: 13, titleFontSize: 13, orient: "bottom", labelLimit: 320 },
    title: { color: ink, subtitleColor: ink, fontSize: 15, fontWeight: "bold", anchor: "start" },
    text: { color: ink, fontSize: 13 },
    rule: { color: ink },
    view: { stroke: null },
  };

  const isSingleView = (spec) => !["hconcat", "vconcat", "concat", "facet", "repeat"].some((key) => key in spec);

  // A button that moves a slider from frame to frame; at the end it starts again. A hand on the slider stops it.
  function player(input, pace) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "coevo-play";
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      button.textContent = "Play";
    };
    const go = (frame) => {
      input.value = frame;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    };
    const atEnd = () => Number(input.value) >= Number(input.max);
    button.addEventListener("click", () => {
      if (timer) return stop();
      if (atEnd()) go(input.min);
      button.textContent = "Pause";
      timer = setInterval(() => {
        go(Number(input.value) + 1);
        if (atEnd()) stop();
      }, pace);
    });
    input.addEventListener("input", (event) => { if (event.isTrusted) stop(); });
    stop();
    return button;
  }

  // A tick at each place where a slider of few values stops.
  function addTicks(input, count) {
    const ticks = document.createElement("datalist");
    ticks.id = `coevo-ticks-${document.querySelectorAll("datalist").length}`;
    for (let value = 0; value < count; value++) ticks.append(new Option("", value));
    input.after(ticks);
    input.setAttribute("list", ticks.id);
  }

  // The lines above the plot, read out once a slider has come to rest: not while it is dragged or a film plays.
  function announce(figure) {
    const status = document.createElement("p");
    status.className = "coevo-hidden";
    status.setAttribute("role", "status");
    figure.append(status);
    let rest = null;
    figure.addEventListener("input", () => {
      clearTimeout(rest);
      rest = setTimeout(() => {
        const lines = [...figure.querySelectorAll("svg.marks .role-mark.mark-text text")];
        const above = lines.filter((line) => line.transform.baseVal.consolidate()?.matrix.f < 0);
        status.textContent = above.map((line) => line.textContent).join(". ");
      }, 700);
    });
  }

  // No pointer moves under a tap: show the values there, and take them away at a tap elsewhere.
  function answerTaps(box) {
    let shown = null;
    const tell = (type, { clientX, clientY }) =>
      shown.dispatchEvent(new PointerEvent(type, { bubbles: true, clientX, clientY, pointerType: "touch" }));
    document.addEventListener("click", (event) => {
      if (event.pointerType !== "touch") return;
      if (shown) tell("pointerout", event);
      shown = event.target.closest("svg.marks") && box.contains(event.target) ? event.target : null;
      if (shown) tell("pointermove", event);
    });
  }

  // A slider over an index shows and announces the value it stands for.
  function nameSliders(figure, spec, view) {
    const named = (spec.usermeta && spec.usermeta.controls) || {};
    const controls = Array.isArray(named) ? named : Object.entries(named).map(([param, rest]) => ({ param, ...rest }));
    for (const bind of figure.querySelectorAll(".vega-bind")) {
      const input = bind.querySelector("input, select");
      if (!input) continue;
      const control = controls.find(({ param }) => param === input.name) || {};
      const name = bind.querySelector(".vega-bind-name");
      if (control.label && name) name.textContent = control.label;
      input.setAttribute("aria-label", control.label || (name ? name.textContent.trim() : input.name));
      const readout = document.createElement("span");
      readout.className = "coevo-readout";
      readout.setAttribute("aria-hidden", "true");  // the slider itself announces its value
      const show = () => {
        const text = control.values ? control.values[Number(input.value)] : input.value;
        readout.textContent = text;
        input.setAttribute("aria-valuetext", text);
      };
      if (input.type === "range") {
        for (const old of bind.querySelectorAll("input ~ label, input ~ span")) old.remove();
        input.after(readout);
        if (control.values && control.values.length <= 12) addTicks(input, control.values.length);
        input.addEventListener("input", show);
        view.addSignalListener(input.name, show);
        show();
        if (control.pace) bind.prepend(player(input, control.pace));
      }
    }
  }

  // On a phone the title and the lines of text above a chart need every letter's width.
  function shrinkWords(spec) {
    if (spec.config && spec.config.title) spec.config.title.fontSize = 12.5;
    for (const { mark } of spec.layer || []) {
      if (mark && mark.type === "text" && mark.fontSize) mark.fontSize = 11.5;
    }
  }

  async function draw(figure) {
    const box = figure.querySelector(".coevo-chart-view");
    const spec = JSON.parse(figure.querySelector(".coevo-chart-spec").textContent);
    const fluid = isSingleView(spec);
    const aspect = spec.usermeta && spec.usermeta.aspect;  // of charts whose height must follow their width
    if (fluid) {
      spec.width = "container";
      spec.autosize = { type: "fit-x", contains: "padding" };
      if (box.clientWidth < 420) shrinkWords(spec);
      if (aspect) spec.height = Math.round(aspect * box.clientWidth);
    }
    spec.background = "transparent";
    const { view } = await vegaEmbed(box, spec, { mode: "vega-lite", renderer: "svg", actions: false, config });
    const svg = box.querySelector("svg.marks");
    if (svg) {
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", figure.getAttribute("aria-label"));
      if (spec.title && spec.title.text) figure.setAttribute("aria-label", spec.title.text);  // said once, not twice
    }
    nameSliders(figure, spec, view);
    announce(figure);
    answerTaps(box);
    if (fluid) {
      let drawn = box.clientWidth;
      new ResizeObserver(() => {
        const width = box.clientWidth;
        if (width > 0 && width !== drawn) {
          drawn = width;
          view.width(width);
          if (aspect) view.height(Math.round(aspect * width));
          view.runAsync();
        }
      }).observe(box);
    }
  }

  function drawAll() {
    for (const figure of document.querySelectorAll(".coevo-chart")) {
      // A chart in a closed box has no width yet: wait until it has one.
      const box = figure.querySelector(".coevo-chart-view");
      const waiting = new ResizeObserver(() => {
        if (box.clientWidth === 0) return;
        waiting.disconnect();
        draw(figure).catch((error) => {
          box.textContent = "This chart could not be drawn.";
          console.error(error);
        });
      });
      waiting.observe(box);
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", drawAll);
  else drawAll();
})();
