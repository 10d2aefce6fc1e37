// The movable threshold: rates by interpolation between the points of the embedded curve, and what is proven there.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const store = $("curve"), form = $("mover");
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  if (!store || !form) return;
  const { curve, chosen, exact, rungs, trials, det } = JSON.parse(store.textContent);
  const t = curve.thresholds, range = $("t-range"), field = $("t-number"), start = Number(range.defaultValue);
  const lines = [...document.querySelectorAll('[data-live="x"]')], mark = document.querySelector('[data-live="det"]');

  const percent = (v) => {
    if (v <= 0) return "0\u00a0%";
    const share = 100 * v;
    const digits = share < 10 ? Math.max(0, 1 - Math.floor(Math.log10(share))) : 1;
    const text = share.toFixed(Math.min(digits, 20));
    return (text.includes(".") ? text.replace(/\.?0+$/, "") : text) + "\u00a0%";
  };
  const percentUp = (v) => { // a bound is never rounded down
    if (v <= 0) return percent(v);
    const step = 10 ** (Math.floor(Math.log10(v)) - (v < 0.1 ? 1 : 2));
    return percent(Math.min(1, Math.ceil(v / step - 1e-9) * step));
  };
  const group = (n) => Math.round(n).toLocaleString("en-US");
  const twoDigits = (n) => {
    if (n < 10) return n.toFixed(1).replace(/\.0$/, "");
    const step = 10 ** (Math.floor(Math.log10(n)) - 1);
    return group(Math.round(n / step) * step);
  };
  const oneIn = (v) => (v > 0 ? "1 in " + twoDigits(1 / v) : "none seen");

  const place = (at) => { // the pair of points around a threshold, and how far between them
    let low = 0, high = t.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (t[middle] <= at) low = middle; else high = middle;
    }
    const part = Math.min(1, Math.max(0, (at - t[low]) / (t[high] - t[low])));
    return { low, high, part };
  };
  const mix = (values, p) => values[p.low] + (values[p.high] - values[p.low]) * p.part;

  const proven = (at) => {
    const met = rungs.filter((one) => one.threshold <= at + 1e-9);
    const best = met.filter((one) => one.support === "supported").sort((a, b) => a.target - b.target)[0];
    const guess = met.filter((one) => one.support === "extrapolated").sort((a, b) => a.target - b.target)[0];
    const next = rungs.filter((one) => one.threshold > at + 1e-9).sort((a, b) => a.threshold - b.threshold)[0];
    const more = [];
    if (guess && (!best || guess.target < best.target)) more.push("EXTRAPOLATED, not proven: FMR at most " + percent(guess.target));
    if (next) more.push("the next step, " + percent(next.target) + ", begins at " + next.threshold.toFixed(4));
    if (!best) return ["no target", more];
    return ["FMR at most " + percent(best.target) + " (" + oneIn(best.target) + ")", more];
  };

  const show = (at) => {
    const p = place(at), exactly = exact && at === chosen;
    const fmr = exactly ? exact[0] / trials[0] : mix(curve.fmr, p), fnmr = exactly ? exact[1] / trials[1] : mix(curve.fnmr, p);
    const errors = exactly ? exact : [fmr * trials[0], fnmr * trials[1]];
    const about = exactly ? ": " : ": about ";
    $("t-fmr").textContent = percent(fmr);
    $("t-fnmr").textContent = percent(fnmr);
    $("t-fmr-more").textContent = oneIn(fmr) + about + group(errors[0]) + " of " + group(trials[0]) +
      "; bounds " + percent(mix(curve.fmr_lower, p)) + " to " + percentUp(mix(curve.fmr_upper, p));
    $("t-fnmr-more").textContent = oneIn(fnmr) + about + group(errors[1]) + " of " + group(trials[1]) +
      "; bounds " + percent(mix(curve.fnmr_lower, p)) + " to " + percentUp(mix(curve.fnmr_upper, p));
    const [what, more] = proven(at);
    $("t-rung").textContent = what;
    $("t-rung-more").textContent = more.join("; ");
    range.setAttribute("aria-valuetext", at.toFixed(4) + ": FMR " + percent(fmr) + ", FNMR " + percent(fnmr));
    for (const line of lines) {
      const { left, right, low, high } = line.ownerSVGElement.dataset;
      const share = (at - low) / (high - low), x = Number(left) + share * (right - left);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      line.removeAttribute("hidden");
    }
    if (mark) {
      mark.setAttribute("cx", mix(det[0], p));
      mark.setAttribute("cy", mix(det[1], p));
      mark.removeAttribute("hidden");
    }
  };

  const low = Number(range.min), high = Number(range.max);
  range.addEventListener("input", () => {
    field.value = Number(range.value).toFixed(4);
    show(Number(range.value));
  });
  field.addEventListener("input", () => {
    const at = field.valueAsNumber;
    const fits = at >= low && at <= high;
    field.setAttribute("aria-invalid", String(!fits));
    if (!fits) return; // half a number is being typed, or one beyond the scores
    range.value = at;
    show(at);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    range.value = start;
    field.value = start.toFixed(4);
    field.removeAttribute("aria-invalid");
    show(chosen === null ? start : Math.min(high, Math.max(low, chosen)));
  });
  form.hidden = false;
  field.value = start.toFixed(4);
  show(chosen === null ? start : Math.min(high, Math.max(low, chosen)));
})();
