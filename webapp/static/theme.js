{ let kept; try { kept = localStorage.theme } catch {} const dark = matchMedia("(prefers-color-scheme: dark)").matches
  document.documentElement.classList.add("js"); document.documentElement.dataset.bsTheme = kept || (dark ? "dark" : "light") }
