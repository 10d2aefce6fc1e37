// Point at a sample, or choose a subject: everything of that subject is ringed in every map.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("points").textContent);
  const form = document.querySelector(".finder"), who = document.getElementById("who");
  const spot = document.getElementById("spot"), hint = spot.textContent;
  const maps = [...document.querySelectorAll(".map")];
  const SIDE = 460, EDGE = 14, SCALE = 10000, NEAR = 12;
  const at = (map, n) => { // a coordinate, or NaN where the sample is not on this map
    const value = data[map.dataset.of][n];
    return value === null ? NaN : EDGE + (value / SCALE) * (SIDE - 2 * EDGE);
  };
  const order = data.subjects.map((name, k) => [name, k]).sort((a, b) => a[0].localeCompare(b[0], undefined, { numeric: true }));
  for (const [name, k] of order) who.add(new Option(name, k));
  form.hidden = false;

  const ring = (subject, sample) => {
    for (const map of maps) {
      const rings = [];
      data.of.forEach((one, k) => {
        if (one !== subject || Number.isNaN(at(map, 2 * k))) return;
        const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
        circle.setAttribute("cx", at(map, 2 * k));
        circle.setAttribute("cy", at(map, 2 * k + 1));
        circle.setAttribute("r", k === sample ? 4.5 : 5.5);
        if (k === sample) circle.setAttribute("class", "at");
        rings.push(circle);
      });
      map.querySelector(".found").replaceChildren(...rings);
      map.classList.toggle("dim", rings.length > 0);
    }
  };
  const say = (sample) => {
    const more = Object.entries(data.labels).map(([name, labels]) => name + ": " + (labels[sample] || "not given"));
    spot.textContent = [data.subjects[data.of[sample]], data.names[sample], ...more].join(" \u00b7 ");
  };
  const chosen = () => {
    const subject = who.value === "" ? -1 : Number(who.value);
    ring(subject, -1);
    spot.textContent = subject < 0 ? hint : data.subjects[subject] + ": " + data.of.filter((one) => one === subject).length + " samples";
  };
  who.addEventListener("change", chosen);
  form.addEventListener("submit", (event) => event.preventDefault());

  let last = -1;
  for (const map of maps) {
    map.addEventListener("pointermove", (event) => {
      const box = map.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * SIDE, y = ((event.clientY - box.top) / box.height) * SIDE;
      let best = -1, least = NEAR * NEAR;
      for (let k = 0; k < data.of.length; k += 1) {
        const far = (at(map, 2 * k) - x) ** 2 + (at(map, 2 * k + 1) - y) ** 2;
        if (far < least) [best, least] = [k, far];
      }
      if (best === last) return;
      last = best;
      if (best < 0) chosen();
      else {
        ring(data.of[best], best);
        say(best);
      }
    });
    map.addEventListener("pointerleave", () => {
      last = -1;
      chosen();
    });
  }
})();
