// The editor's helpers run as workers, from files of ours.
const files = { editorWorkerService: "editor.js", json: "json.js", graphql: "graphql.js" };
const here = document.currentScript.src.replace(/[^/]*$/, "");
self.MonacoEnvironment = { globalAPI: false, getWorkerUrl: (_, label) => here + files[label] };

document.addEventListener("DOMContentLoaded", () => {
  const options = JSON.parse(document.getElementById("options").textContent);
  YogaGraphiQL.renderYogaGraphiQL(document.getElementById("root"), options);
});
