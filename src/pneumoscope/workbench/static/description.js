// The API's description, drawn by Swagger UI; tried requests carry the page's own token.
const csrf = document.querySelector('meta[name="csrf-token"]').content;

window.SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  domNode: document.querySelector("#description"),
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null, // nothing is asked of another host
  requestInterceptor(request) {
    if (csrf) request.headers["X-CSRF-Token"] = csrf;
    return request;
  },
});
