// The code of a sign-in link is behind the #, which no server and no log sees: it is sent in a form, and taken away.
const code = location.hash.slice(1);
if (code) {
  history.replaceState(null, "", location.pathname + location.search);
  const form = document.getElementById("sign-in");
  form.elements.code.value = code;
  form.submit();
}
