// The keys belong to the dashboard as soon as it is there, without a click into it; before that,
// textual.js would tell of the focus over a socket that is not open yet.
const timer = setInterval(() => {
  const keys = document.querySelector("body.-first-byte .xterm-helper-textarea");
  if (keys) { keys.focus(); clearInterval(timer); }
}, 50);
