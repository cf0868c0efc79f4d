(() => {
  "use strict";
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", NIGHTS = 28;
  const make = (name, className, text) => { const node = document.createElement(name); if (className) node.className = className; if (text !== undefined) node.textContent = text; return node; };
  const shape = (name, attributes) => { const node = document.createElementNS("http://www.w3.org/2000/svg", name); for (const key in attributes) node.setAttribute(key, attributes[key]); return node; };
  const level = (text, place) => LETTERS.indexOf(text.length === 1 ? text : text[place] || ".");
  function draw(svg, curves, low, high, flagged, width, height, nights = NIGHTS) {
    const x = place => +(2 + place * (width - 4) / (nights - 1)).toFixed(1), y = value => +(height - 3 - value * (height - 6) / 63).toFixed(1);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const places = [...Array(nights).keys()], known = places.filter(place => low && level(low, place) >= 0 && level(high, place) >= 0);
    if (known.length > 1) svg.append(shape("path", { class: "band", d: "M" + [...known.map(place => x(place) + " " + y(level(high, place))), ...known.reverse().map(place => x(place) + " " + y(level(low, place)))].join("L") + "Z" }));
    for (const text of curves) {
      let line = "", down = false;
      for (const place of places) { const value = level(text, place); if (value < 0) { down = false; continue; } line += (down ? "L" : "M") + x(place) + " " + y(value); down = true; }
      if (line) svg.append(shape("path", { class: "line", d: line }));
    }
    for (const place of places) if (Math.floor(flagged / 2 ** place) % 2 && level(curves[0], place) >= 0) svg.append(shape("circle", { cx: x(place), cy: y(level(curves[0], place)), r: 2.2 }));
    return svg;
  }
  function inside([points, low, high, flagged, columns]) {
    const box = make("div", "inside"), chart = shape("svg", { preserveAspectRatio: "none" });
    draw(chart, [points], low, high, flagged, 900, 84);
    const ends = make("div", "ends");
    ends.append(make("span", "", "27 nights ago"), make("span", "", "tonight"));
    box.append(chart, ends);
    if (!columns.length) return box;
    const wide = make("div", "wide"), table = make("table"), head = make("tr"), body = make("tbody"), top = make("thead");
    for (const [text, name] of [["column"], ["type"], ["nulls", "number"], ["two weeks"], ["distinct", "number"], ["two weeks"], ["smallest and largest, as curves"]]) head.append(make("th", name, text));
    top.append(head);
    for (const [name, type, nulls, nullCurve, distinct, distinctCurve, min, max, isFlagged] of columns) {
      const row = make("tr", isFlagged ? "flagged" : ""), curve = (...curves) => { const cell = make("td"); if (curves.some(one => one && one !== ".")) cell.append(draw(shape("svg"), curves, "", "", 0, 112, 26, 14)); return cell; };
      row.append(make("td", "", name), make("td", "soft", type), make("td", "number", nulls), curve(nullCurve), make("td", "number", distinct), curve(distinctCurve), curve(min, max));
      body.append(row);
    }
    table.append(top, body); wide.append(table); box.append(wide);
    return box;
  }
  for (const section of document.querySelectorAll(".database")) {
    const source = section.querySelector('script[type="application/json"]');
    if (!source) continue;
    let data;
    const of = row => (data ||= JSON.parse(source.textContent))[row.dataset.t];
    const seen = new IntersectionObserver(entries => {
      for (const { target, isIntersecting } of entries) if (isIntersecting) {
        seen.unobserve(target);
        const [points, low, high, flagged] = of(target), svg = target.querySelector("summary > svg");
        if (!svg.childElementCount && points) draw(svg, [points], low, high, flagged, 112, 26);
      }
    }, { rootMargin: "300px" });
    for (const row of section.querySelectorAll("[data-t]")) {
      seen.observe(row);
      row.addEventListener("toggle", () => { if (row.open && !row.querySelector(".inside")) row.append(inside(of(row))); });
    }
    const filter = section.querySelector(".filter");
    if (filter) {
      filter.hidden = false;
      filter.addEventListener("input", () => { const wanted = filter.value.toLowerCase(); for (const row of filter.nextElementSibling.children) row.hidden = !row.querySelector("b").textContent.toLowerCase().includes(wanted); });
    }
  }
})();
