// The `fetch` of Node.js at a provider's own host.

const headers = { authorization: `Bearer ${process.env.X_API_KEY}` };
const response = await fetch("https://api.acme.test/v1/models", { headers });
process.stdout.write(await response.text());
