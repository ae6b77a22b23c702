// Shows the description with Swagger UI. A key that is typed in stays in this page's memory.
fetch("openapi.json").then((answer) => answer.json()).then((spec) => {
  // this Swagger UI (4.15) turns 3.1 away by its number alone; of what 3.1 added we use `type: null`, which it can show
  spec.openapi = "3.0.3";
  SwaggerUIBundle({ spec, dom_id: "#page", deepLinking: true, docExpansion: "none", persistAuthorization: false });
});
