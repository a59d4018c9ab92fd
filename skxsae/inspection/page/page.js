"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { concepts, items, views } = data;
  const n = concepts.number.length;
  const two = "y" in views;
  const kinds = (two ? ["shared", "chance", "x", "y"] : ["x"]).filter(
    (kind) => kind !== "chance" || concepts.kind.includes(kind)
  );
  const symbols = { shared: "●", chance: "◇", x: two ? "▲" : "●", y: "■" };
  const shapes = { shared: "circle", chance: "diamond-open", x: two ? "triangle-up" : "circle", y: "square" };
  const kindNames = two
    ? { shared: "shared", chance: "matched by chance", x: `${views.x} only`, y: `${views.y} only` }
    : { x: views.x };
  const LISTED = 200;
  const ASKED = 20;
  const LANDMARKS = 16;
  const shortened = (text) => (text.length > 18 ? `${text.slice(0, 17)}…` : text);
  // more points than this are drawn by WebGL
  const DRAWN = 4000;

  const byId = (id) => document.getElementById(id);
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const words = (text, className = "") =>
    element("span", { className, dir: "auto", textContent: text });
  const name = (i) => concepts.name?.[i] ?? `concept ${concepts.number[i]}`;
  const digits = (value, places = 2) => (value == null ? "–" : value.toFixed(places));
  const count = (value, what) =>
    `${value.toLocaleString("en")} ${what}${value === 1 ? "" : "s"}`;
  // names are shown as they are, also where plotly would read tags and entities in them
  const escaped = (text) =>
    text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  const state = { kind: "all", order: "energy", search: "", chosen: null, lit: null };
  const indexOf = new Map(concepts.number.map((number, i) => [number, i]));
  // under a soft assignment a concept has a column for each view
  for (const [column, number] of Object.entries(data.other_columns)) {
    if (indexOf.has(number)) indexOf.set(Number(column), indexOf.get(number));
  }
  const haystack = Array.from({ length: n }, (_, i) =>
    [concepts.number[i], concepts.name?.[i], concepts.also?.[i]].join(" ").toLowerCase()
  );

  const orders = { energy: "energy" };
  if (concepts.correlation) orders.correlation = "correlation of the views";
  if (concepts.confidence) orders.confidence = "confidence of the name";
  orders.number = "number";

  function matching() {
    const terms = state.search.toLowerCase().split(/\s+/).filter(Boolean);
    const number = /^#?(\d+)$/.exec(terms.join(" "))?.[1];
    const first = number === undefined ? undefined : indexOf.get(Number(number));
    if (number !== undefined && state.search.includes("#")) return first === undefined ? [] : [first];
    const values = concepts[state.order];
    const down = state.order === "number" ? -1 : 1;
    const found = [];
    for (let i = 0; i < n; i++) {
      if (state.kind !== "all" && concepts.kind[i] !== state.kind) continue;
      if (terms.every((term) => haystack[i].includes(term))) found.push(i);
    }
    const key = (i) => values[i] ?? -Infinity;
    const isFirst = (i) => i === first;
    return found.sort(
      (a, b) => isFirst(b) - isFirst(a) || down * (key(b) - key(a)) || a - b
    );
  }

  function conceptButton(i, note) {
    const made = element(
      "button",
      { type: "button", onclick: () => choose(i) },
      element("span", {
        className: concepts.kind[i],
        textContent: symbols[concepts.kind[i]],
        title: kindNames[concepts.kind[i]],
      }),
      words(name(i), "grow"),
      element("span", { className: "number", textContent: note })
    );
    made.dataset.concept = i;
    return made;
  }

  function list() {
    const found = matching();
    const shown = found.slice(0, LISTED);
    byId("found").textContent =
      found.length > LISTED
        ? `${count(found.length, "concept")}, the first ${LISTED} of them:`
        : count(found.length, "concept");
    const note = (i) =>
      state.order === "energy" || state.order === "number"
        ? `#${concepts.number[i]}`
        : digits(concepts[state.order][i]);
    byId("concepts").replaceChildren(
      ...shown.map((i) => element("li", {}, conceptButton(i, note(i))))
    );
    mark();
    light(state.search ? found : null);
  }

  function mark() {
    for (const button of document.querySelectorAll("#concepts button")) {
      button.setAttribute("aria-current", Number(button.dataset.concept) === state.chosen);
    }
  }

  // -- the map ---------------------------------------------------------------------
  const members = kinds.map((kind) =>
    concepts.number.map((_, i) => i).filter((i) => concepts.kind[i] === kind)
  );
  const largest = concepts.energy.reduce((a, b) => Math.max(a, b), 0);
  const size = (i) => 5 + 20 * Math.sqrt(concepts.energy[i] / largest);
  const at = (axis, of) => of.map((i) => data.places[axis][i]);
  const plot = byId("plot");
  const isNarrow = () => window.matchMedia("(max-width: 1100px)").matches;

  // the strongest concepts, one of each name, tell where one is
  function landmarks() {
    const named = new Map();
    const isChance = (i) => concepts.kind[i] === "chance";
    const strongest = [...members.flat()].sort(
      (a, b) => isChance(a) - isChance(b) || concepts.energy[b] - concepts.energy[a]
    );
    for (const i of strongest) {
      if (concepts.name?.[i] && !named.has(name(i))) named.set(name(i), i);
      if (named.size === LANDMARKS) break;
    }
    return [...named.values()];
  }

  function draw() {
    const type = n > DRAWN ? "scattergl" : "scatter";
    const traces = kinds.map((kind, k) => ({
      type,
      mode: "markers",
      name: kindNames[kind],
      x: at(0, members[k]),
      y: at(1, members[k]),
      customdata: members[k],
      text: members[k].map((i) => escaped(name(i))),
      hovertemplate: "%{text}<extra></extra>",
      marker: {
        symbol: shapes[kind],
        size: members[k].map(size),
        color: two ? members[k].map((i) => concepts.modality[i]) : "#0072b2",
        // blue, grey and orange of Okabe and Ito's palette
        colorscale: [[0, "#0072b2"], [0.5, "#b8b8b8"], [1, "#e69f00"]],
        cmin: 0,
        cmax: 1,
        opacity: 0.85,
        line: { width: 0.6, color: "#444" },
        showscale: two && k === 0 && !isNarrow(),
        colorbar: {
          title: { text: `share of ${views.x}`, side: "right" },
          thickness: 10,
          tickvals: [0, 0.5, 1],
        },
      },
      unselected: { marker: { opacity: 0.08 } },
    }));
    const labelled = landmarks();
    traces.push({
      type: "scatter",
      mode: "text",
      x: at(0, labelled),
      y: at(1, labelled),
      text: labelled.map((i) => escaped(shortened(name(i)))),
      textposition: "top center",
      textfont: { size: 12, color: "#1b1f24" },
      cliponaxis: false,
      hoverinfo: "skip",
    });
    traces.push({
      type: "scatter",
      mode: "markers",
      x: [],
      y: [],
      hoverinfo: "skip",
      marker: { symbol: "circle-open", size: 30, color: "#000", line: { width: 3 } },
    });
    const axis = { visible: false, fixedrange: false };
    const layout = {
      margin: { l: 8, r: 8, t: 8, b: 8 },
      xaxis: axis,
      yaxis: axis,
      showlegend: false,
      hovermode: "closest",
      dragmode: "pan",
      paper_bgcolor: "#fff",
      plot_bgcolor: "#fff",
      hoverlabel: { align: "left" },
    };
    const config = {
      responsive: true,
      displaylogo: false,
      scrollZoom: true,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    };
    plot.setAttribute(
      "aria-label",
      `${count(n, "concept")} on a map; those with similar directions are near each ` +
        "other. All of them can be found by the list beside it."
    );
    return Plotly.newPlot(plot, traces, layout, config).then(() => {
      plot.on("plotly_click", (event) => choose(event.points[0].customdata));
    });
  }

  function light(lit) {
    const set = lit && new Set(lit);
    const selected = members.map((of) =>
      set ? of.flatMap((i, place) => (set.has(i) ? [place] : [])) : null
    );
    const visible = kinds.map((kind) => state.kind === "all" || state.kind === kind);
    const traces = kinds.map((_, k) => k);
    Plotly.restyle(plot, { selectedpoints: selected, visible }, traces);
    const plain = !set && state.kind === "all";
    Plotly.restyle(plot, { visible: plain }, [kinds.length]);
    ring();
  }

  function ring() {
    const isDrawn = state.kind === "all" || state.kind === concepts.kind[state.chosen];
    const at = state.chosen === null || !isDrawn ? [] : [state.chosen];
    Plotly.restyle(
      plot,
      { x: [at.map((i) => data.places[0][i])], y: [at.map((i) => data.places[1][i])] },
      [kinds.length + 1]
    );
  }

  // -- one concept -------------------------------------------------------------------
  function facts(i) {
    const rows = [];
    if (two) {
      const share = Math.round(100 * concepts.modality[i]);
      rows.push(["kind", `${kindNames[concepts.kind[i]]}: ${share} % ${views.x}, ${100 - share} % ${views.y}`]);
      rows.push(["correlation of the views", digits(concepts.correlation[i])]);
      if (concepts.margin) {
        const noise = { true: "above the noise floor", false: "no better than chance" };
        const margin = concepts.margin[i];
        const sure = noise[concepts.above_noise?.[i]];
        const told = [margin == null ? "none" : `margin ${digits(margin)}`, sure];
        rows.push(["match", told.filter(Boolean).join(", ")]);
      }
      if (data.one_space) rows.push(["distance of directions", digits(concepts.distance[i])]);
    }
    const active = Object.keys(views).map((view) => {
      const often = concepts[`n_${view}`][i].toLocaleString("en");
      return two ? `${often} as ${views[view]}` : often;
    });
    const all = count(data.n_samples, two ? "pair" : "sample");
    rows.push(["active in", `${active.join(", ")}${two ? "," : ""} of ${all}`]);
    rows.push(["energy", concepts.energy[i].toPrecision(2)]);
    if (concepts.confidence?.[i] != null) {
      rows.push(["confidence of the name", digits(concepts.confidence[i])]);
    }
    if (concepts.also?.[i]) rows.push(["also", concepts.also[i]]);
    return element(
      "dl",
      {},
      ...rows.flatMap(([term, value]) => [
        element("dt", { textContent: term }),
        element("dd", { textContent: value, dir: "auto" }),
      ])
    );
  }

  const textOf = (item, view) =>
    ((view === "x" && two && items.x_text) || items.text)?.[item] ?? null;

  function pictures(top) {
    const figures = top.map(([item, activation]) => {
      const caption = items.text?.[item] || `row ${items.row[item]}`;
      const source = items.picture[item];
      const picture = source
        ? element("img", { src: source, alt: caption, loading: "lazy" })
        : element("span", { className: "empty", textContent: "no picture" });
      return element(
        "figure",
        { title: `${caption} (row ${items.row[item]}, activation ${activation})` },
        picture,
        element("figcaption", { textContent: caption, dir: "auto" })
      );
    });
    return element("div", { className: "pictures" }, ...figures);
  }

  function texts(top, view) {
    const rows = top.map(([item, activation]) =>
      element(
        "li",
        {},
        words(textOf(item, view) || `row ${items.row[item]}`, "grow"),
        element("span", { className: "number", textContent: activation })
      )
    );
    return element("ol", { className: "texts" }, ...rows);
  }

  function samples(i) {
    const parts = [];
    for (const view of Object.keys(views)) {
      const top = data.top[view][i];
      if (!top.length) continue;
      parts.push(element("h3", { textContent: `Strongest ${views[view]}s` }));
      parts.push(view === "x" && items.picture ? pictures(top) : texts(top, view));
    }
    return parts;
  }

  function chips(title, entries) {
    if (!entries.length) return [];
    const buttons = entries.map(([i, note]) => conceptButton(i, note));
    return [
      element("h3", { textContent: title }),
      element("div", { className: "chips" }, ...buttons),
    ];
  }

  function choose(i, scroll = true) {
    state.chosen = i;
    const bridges = (data.bridges?.[i] ?? []).map(([weight, other, first]) => [
      other,
      `#${concepts.number[other]}, ${first ? views.y : views.x}, ${weight.toPrecision(2)}`,
    ]);
    const heading = element(
      "h2",
      {},
      words(name(i)),
      element("span", { className: "number", textContent: ` #${concepts.number[i]}` })
    );
    byId("concept").replaceChildren(
      heading,
      facts(i),
      ...samples(i),
      ...chips("Bridge partners in the other view", bridges),
      ...chips("Nearest concepts", data.nearest[i].map((other) => [other, `#${concepts.number[other]}`]))
    );
    byId("concept").scrollTop = 0;
    // below the rest where there is one column only
    if (scroll && isNarrow()) byId("concept").scrollIntoView();
    mark();
    ring();
    history.replaceState(null, "", `#${concepts.number[i]}`);
  }

  // -- texts to look up ----------------------------------------------------------------
  function ask() {
    const needle = byId("query").value.trim().toLowerCase();
    const found = [];
    if (needle) {
      const places = data.queries.text.map((text) => text.toLowerCase().indexOf(needle));
      const holds = places.flatMap((place, q) => (place < 0 ? [] : [q]));
      found.push(...holds.sort((a, b) => places[a] - places[b]).slice(0, ASKED));
    }
    byId("queries").replaceChildren(
      ...found.map((q) =>
        element(
          "li",
          {},
          element(
            "button",
            { type: "button", onclick: () => answer(q) },
            words(data.queries.text[q] || "(empty)", "grow")
          )
        )
      )
    );
    byId("answer").replaceChildren();
    if (needle && !found.length) byId("answer").append("No such text in the list.");
    if (!needle) light(null);
  }

  function answer(q) {
    const active = data.queries.concepts[q];
    byId("query").value = data.queries.text[q];
    byId("queries").replaceChildren();
    const strongest = active.length ? active[0][1] : 1;
    const buttons = active.map(([i, activation]) => {
      const button = conceptButton(i, digits(activation));
      button.style.setProperty("--share", `${(100 * activation) / strongest}%`);
      return button;
    });
    byId("answer").replaceChildren(
      element("h3", {}, "Concepts active in ", words(`“${data.queries.text[q]}”`)),
      active.length
        ? element("div", { className: "chips" }, ...buttons)
        : element("p", { textContent: "None of those on this page." })
    );
    light(active.map(([i]) => i));
  }

  // -- the rest --------------------------------------------------------------------------
  function arrows(event) {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const buttons = [...event.currentTarget.querySelectorAll("button")];
    const step = event.key === "ArrowDown" ? 1 : -1;
    const target = buttons[buttons.indexOf(document.activeElement) + step];
    if (target) {
      target.focus();
      event.preventDefault();
    }
  }

  function intoList(event, id) {
    const first = byId(id).querySelector("button");
    if (event.key === "Enter") first?.click();
    if (event.key === "ArrowDown" && first) {
      first.focus();
      event.preventDefault();
    }
  }

  function glossary() {
    const meanings = [
      ["energy", "mean square of the activation: how much of the samples the concept accounts for"],
      ["activation", "the number beside a text or a picture: how strongly the concept is present in it"],
    ];
    if (concepts.confidence) {
      meanings.push(["confidence", "of a name, at most 1: how well it goes with the activation"]);
    }
    if (two) {
      meanings.push(["correlation", "of the activations in the two views of a pair, at most 1"]);
      if (concepts.margin) {
        meanings.push(["match", "margin: by how much the correlation beats that of the second best partner; a sure match lies above the noise floor, what is matched when the pairs are shuffled"]);
      }
      if (data.one_space) {
        meanings.push(["distance", "of the two directions: 0 the same, 1 at a right angle. It says something only if one model made both views"]);
      }
      meanings.push(["bridge", "a concept of the other view that is active with this one, and how much they bring the views together"]);
    }
    return meanings;
  }

  function build() {
    const names = Object.values(views).join(" and ");
    byId("title").textContent = `${count(n, "concept")} of ${names}`;
    document.title = `Concepts of ${names}`;
    byId("summary").textContent = `Found in ${count(data.n_samples, two ? "pair" : "sample")}. Click a point, or search; press / to search from anywhere.`;
    const choices = two ? ["all", ...kinds] : [];
    byId("kinds").hidden = !two;
    byId("kinds").append(
      ...choices.map((kind) =>
        element(
          "label",
          {},
          element("input", {
            type: "radio",
            name: "kind",
            value: kind,
            checked: kind === "all",
            onchange: () => {
              state.kind = kind;
              list();
            },
          }),
          kind === "all" ? " all" : ` ${symbols[kind]} ${kindNames[kind]}`
        )
      )
    );
    byId("order").append(
      ...Object.entries(orders).map(([value, textContent]) => element("option", { value, textContent }))
    );
    byId("legend").textContent = two
      ? `Size: energy. Colour: orange ${views.x}, grey both, blue ${views.y}. Similar directions are near each other.`
      : "Size: energy. Similar directions are near each other.";
    byId("search").oninput = () => {
      state.search = byId("search").value;
      list();
    };
    byId("order").onchange = () => {
      state.order = byId("order").value;
      list();
    };
    byId("search").onkeydown = (event) => intoList(event, "concepts");
    byId("concepts").onkeydown = arrows;
    if (data.queries) {
      byId("ask").hidden = false;
      document.querySelector("label[for=query]").textContent =
        `Which concepts are active in a ${two ? views.y : "text"}? (${count(data.queries.text.length, "text")} to choose from)`;
      byId("query").oninput = ask;
      byId("query").onkeydown = (event) => intoList(event, "queries");
      byId("queries").onkeydown = arrows;
    }
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !document.activeElement.matches("input[type=search], select")) {
        byId("search").focus();
        event.preventDefault();
      }
    });
    document.body.classList.toggle("single", !two);
    byId("words").querySelector("dl").append(
      ...glossary().flatMap(([term, meaning]) => [
        element("dt", { textContent: term }),
        element("dd", { textContent: meaning }),
      ])
    );
    const left = [];
    if (data.n_left_out) left.push(`${count(data.n_left_out, "more concept")} with less energy are left out.`);
    if (data.n_silent) left.push(`${count(data.n_silent, "latent")} never active here.`);
    left.push("This page needs no network. Made with skxsae and plotly.js.");
    byId("notes").textContent = left.join(" ");
  }

  const linked = () => indexOf.get(parseInt(location.hash.slice(1), 10));

  build();
  draw().then(() => {
    list();
    choose(linked() ?? matching()[0], false);
    window.addEventListener("hashchange", () => {
      if (linked() !== undefined) choose(linked());
    });
    document.documentElement.dataset.ready = "true";
  });
})();
