// A provider of OpenID Connect for tests, by oidc-provider. Whoever signs in with
// a name gets the claims that stand for it below.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const people = {
  ann: { sub: 'ann', email: 'ann@example.com', email_verified: true, name: 'Ann Example' },
  imposter: { sub: 'imposter', email: 'ann@example.com', email_verified: true, name: 'Ann Example' },
  unverified: { sub: 'unverified', email: 'boss@example.com', email_verified: false },
  nameless: { sub: 'nameless' },
};
// It tells its address first, and then reads where it is to send browsers back to.
// Each further line is somebody's name and their new address.
const server = createServer();
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
const lines = createInterface({ input: process.stdin }).on('close', () => process.exit());
lines.once('line', (redirect) => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const client = (id) => ({
    client_id: id, client_secret: 'the secret of a test', redirect_uris: [redirect], grant_types: ['authorization_code'], response_types: ['code'],
  });
  const provider = new Provider(issuer, {
    clients: [client('flyball'), client('another')],
    cookies: { keys: ['a test'] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], auth_time: null },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true } },
    ttl: { Session: 3600, Grant: 3600, Interaction: 3600, AccessToken: 600, IdToken: 600, AuthorizationCode: 60 },
    async findAccount(_, name) {
      const claims = people[name];
      return claims && { accountId: name, claims: async () => claims };
    },
  });
  server.on('request', provider.callback());
  lines.on('line', (line) => {
    const [name, email] = line.split(' ');
    people[name].email = email;
    console.log('ready');
  });
  console.log('ready');
});
