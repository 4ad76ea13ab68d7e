"""The page at /docs: the API for people, from /openapi.json, loading nothing from elsewhere."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tenant provisioner API</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
  details { border-top: 1px solid #8884; padding: .4rem 0 }
  summary { cursor: pointer }
  b { display: inline-block; min-width: 3.5rem; font-family: ui-monospace, monospace }
  pre { overflow: auto; background: #8882; padding: .6rem; border-radius: .3rem }
</style>
<h1>Tenant provisioner API</h1>
<p>Every address answers with and without <code>/api</code> before it. This page takes the place
of the Swagger UI; the description itself is <a href="openapi.json">openapi.json</a>, which any
OpenAPI tool reads.</p>
<main id="routes">Reading the description…</main>
<script>
  const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  const shown = (value) => make("pre", JSON.stringify(value, null, 2));
  fetch("openapi.json").then((answer) => answer.json()).then((api) => {
    const schema = (said) => {
      const name = (said?.$ref ?? "").split("/").pop();
      return name ? { [name]: api.components.schemas[name]?.properties } : said;
    };
    const list = document.getElementById("routes");
    list.textContent = "";
    for (const [path, verbs] of Object.entries(api.paths)) {
      for (const [verb, route] of Object.entries(verbs)) {
        const item = make("details", "");
        const head = make("summary", "");
        head.append(make("b", verb.toUpperCase()), make("code", path));
        item.append(head, make("p", route.description ?? ""));
        for (const field of route.parameters ?? []) {
          item.append(make("p", `${field.in}: ${field.name} ${field.description ?? ""}`));
        }
        const sent = route.requestBody?.content?.["application/json"];
        if (sent) item.append(make("h4", "Request"), shown(sent.example ?? schema(sent.schema)));
        for (const [status, answer] of Object.entries(route.responses)) {
          item.append(make("h4", `${status} ${answer.description ?? ""}`));
          const content = answer.content?.["application/json"];
          if (status !== "200" || !content) continue;
          item.append(shown(content.example ?? schema(content.schema)));
        }
        list.append(item);
      }
    }
  }).catch(() => {
    document.getElementById("routes").textContent = "It can't be read now. Load again.";
  });
</script>
"""
