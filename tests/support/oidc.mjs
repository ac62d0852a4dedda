// A real OpenID Connect provider, where whoever DIRECTORY/who names logs in without being asked; or, as `github`, an OAuth
// server with GitHub's addresses and the two routes of its API that tell who somebody is.
//
// usage: oidc.mjs PACKAGES DIRECTORY [github]
// Writes its port to DIRECTORY/port. It ends with its standard input.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [packages, directory, kind] = process.argv.slice(2);
const github = kind === 'github';
const require = createRequire(`${packages}/`);
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const { port } = server.address();
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'capitune',
    client_secret: 'a-secret-for-tests',
    redirect_uris: ['http://127.0.0.1:3001/api/auth/oidc/test/callback'],
    ...(github && { token_endpoint_auth_method: 'client_secret_post' }),
  }],
  ...(github && {
    routes: { authorization: '/login/oauth/authorize', token: '/login/oauth/access_token' },
    scopes: ['read:user', 'user:email'],
  }),
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  conformIdTokenClaims: false,
  cookies: { keys: ['a key for tests'] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `Name of ${id}`, email: `${id}@provider.test`, email_verified: !id.startsWith('unverified') }),
  }),
});

// A number for a name, as GitHub has it.
const numberOf = (who) => [...who].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % 1_000_000_007;

async function githubApi(request, response) {
  const token = await provider.AccessToken.find((request.headers.authorization ?? '').replace('Bearer ', ''));
  const answer = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  if (!token || !request.headers['user-agent']) return answer(401, { message: 'Bad credentials' });
  const who = token.accountId;
  if (request.url === '/api/v3/user') return answer(200, { id: numberOf(who), login: who, name: null });
  return answer(200, [
    { email: `old-${who}@provider.test`, primary: false, verified: true, visibility: null },
    { email: `${who}@provider.test`, primary: true, verified: !who.startsWith('unverified'), visibility: 'private' },
  ]);
}

server.on('request', async (request, response) => {
  if (github && request.url.startsWith('/api/v3/')) {
    await githubApi(request, response);
    return;
  }
  if (!request.url.startsWith('/interaction/')) {
    provider.callback()(request, response);
    return;
  }
  const who = readFileSync(`${directory}/who`, 'utf8');
  if (who === 'nobody') {
    await provider.interactionFinished(request, response, { error: 'access_denied' });
    return;
  }
  const { prompt, params, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    await provider.interactionFinished(request, response, { login: { accountId: who } });
    return;
  }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: who, clientId: params.client_id });
  grant.addOIDCScope(github ? 'read:user user:email' : 'openid email profile');
  await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
});

writeFileSync(`${directory}/port.new`, String(port));
renameSync(`${directory}/port.new`, `${directory}/port`);
process.stdin.on('end', () => process.exit(0)).resume();
