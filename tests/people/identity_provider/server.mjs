// A real OpenID Connect provider on 127.0.0.1, for the tests of single sign-on.
//
//     node server.mjs FOLDER_WITH_NODE_MODULES CONFIGURATION.json
//
// Whoever logs in is looked up in the file of people that the configuration names, anew
// each time, so that a test can move somebody to another group between two sign-ins.
// Any password is right.
import { readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import path from 'node:path'

const [, , place, configurationFile] = process.argv
const { default: Provider } = await import(
  pathToFileURL(path.join(place, 'node_modules/oidc-provider/lib/index.js')).href
)
const { issuer, port, clients, people } = JSON.parse(await readFile(configurationFile, 'utf8'))

const provider = new Provider(issuer, {
  clients,
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['given_name', 'family_name', 'groups'],
  },
  pkce: { required: () => true },
  cookies: { keys: ['a key for tests'] },
  features: { devInteractions: { enabled: true } },
  async findAccount(context, id) {
    const person = JSON.parse(await readFile(people, 'utf8'))[id]
    return person && { accountId: id, claims: async () => ({ sub: id, ...person }) }
  },
})
provider.on('server_error', (context, error) => console.error(error))
provider.listen(port, '127.0.0.1', () => console.log('ready'))
