// Runs before the first paint, so that a kept choice of colours doesn't flash.
(() => {
  let kept = "auto";
  try {
    kept = localStorage.getItem("headwater-theme") || "auto";
  } catch {
    // storage is switched off: the system's colours are used
  }
  document.documentElement.dataset.theme = ["light", "dark"].includes(kept) ? kept : "auto";
})();
