// Signs and checks detached JWS (RFC 7515 appendix F) with the `jose` package. Requests on stdin, answers on stdout:
//   {"op": "sign",   "alg", "kid", "pkcs8", "payload"}            -> {"signature": "<header>..<sig>"}
//   {"op": "verify", "alg", "spki", "payload", "signature"}       -> {"ok": true | false}
// `payload` is base64. One JSON list in, one JSON list out.
import { CompactSign, compactVerify, importPKCS8, importSPKI } from 'jose'

let text = ''
for await (const chunk of process.stdin) text += chunk

async function answer(request) {
  const payload = Buffer.from(request.payload, 'base64')
  if (request.op === 'sign') {
    const key = await importPKCS8(request.pkcs8, request.alg)
    const header = { alg: request.alg, kid: request.kid, ...(request.typ ? { typ: request.typ } : {}) }
    const [head, , tail] = (await new CompactSign(payload).setProtectedHeader(header).sign(key)).split('.')
    return { signature: `${head}..${tail}` }
  }
  const key = await importSPKI(request.spki, request.alg)
  const [head, , tail] = request.signature.split('.')
  try {
    await compactVerify(`${head}.${payload.toString('base64url')}.${tail}`, key, { algorithms: [request.alg] })
    return { ok: true }
  } catch (error) {
    if (error.code === 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED') return { ok: false }
    throw error
  }
}

const answers = []
for (const request of JSON.parse(text)) answers.push(await answer(request))
process.stdout.write(JSON.stringify(answers))
