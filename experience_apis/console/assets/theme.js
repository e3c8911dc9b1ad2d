// Sets the colours before the first paint, and tells the server in which zone times are to be shown.
(() => {
  const cookie = (name) => document.cookie.split("; ").find((each) => each.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
  const theme = cookie("tiergate-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && decodeURIComponent(cookie("tiergate-zone")) !== zone)
    document.cookie = `tiergate-zone=${zone}; path=/; max-age=31536000; samesite=lax`;
})();
