// Starts Swagger UI on the page to try the API. It is a file because the pages allow no inline script.
"use strict";

SwaggerUIBundle({
  url: document.querySelector("#swagger-ui").dataset.schema,
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
});
