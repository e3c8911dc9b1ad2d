// An OpenID Connect issuer of others: panva's oidc-provider, with pages on which anybody signs in by a name.
// Arguments: the port, and where the console is. The groups of a person are what stands before the @ of the name.
import Provider from "oidc-provider";

const [port, consoleUrl] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "tiergate-console",
      client_secret: "a secret with : and % in it",
      redirect_uris: [`${consoleUrl}/console/sign-in/finish`],
      response_types: ["code"],
      grant_types: ["authorization_code"],
      token_endpoint_auth_method: "client_secret_basic",
    },
  ],
  claims: { openid: ["sub"], profile: ["name", "groups"] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: id.split("@")[0], groups: [`tiergate-${id.split("@")[0]}`] }),
  }),
  pkce: { required: () => true },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
