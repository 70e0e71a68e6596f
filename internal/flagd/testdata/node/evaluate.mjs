// Answers for flagd: reads lines of JSON, a document or a question about all
// flags of the last one, and writes a line for each: what flagd's evaluator
// makes of it, compiled and interpreted.
import { createInterface } from 'node:readline'
import { FlagdCore } from '@openfeature/flagd-core'

const quiet = () => {}
let cores = []
let now = 0
Date.now = () => now

function load(document) {
  const complaints = []
  const logger = {
    error: quiet,
    warn: (message) => complaints.push(message),
    info: quiet,
    debug: (message) => message.startsWith('invalid flagd flag configuration') && complaints.push(message),
  }
  cores = [{}, { disableDynamicCodeGeneration: true }].map((options) => {
    const core = new FlagdCore(undefined, logger, options)
    core.setConfigurations(document)
    return core
  })
  return { flags: cores[0].getFlags().size, complaints: complaints.map((c) => c.slice(0, 2000)) }
}

function ask(core, flag, type, context) {
  const resolve = {
    boolean: () => core.resolveBooleanEvaluation(flag, false, context),
    string: () => core.resolveStringEvaluation(flag, '', context),
    integer: () => core.resolveNumberEvaluation(flag, 0, context),
    number: () => core.resolveNumberEvaluation(flag, 0, context),
    object: () => core.resolveObjectEvaluation(flag, {}, context),
  }[type]
  const r = resolve()
  if (r.errorCode) return { error: `${r.errorCode}: ${r.errorMessage}` }
  return { variant: r.variant, value: r.value }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { document, flags, context, at } = JSON.parse(line)
  let answer
  if (document !== undefined) {
    answer = load(document)
  } else {
    now = at * 1000
    answer = flags.map(([flag, type]) => cores.map((core) => ask(core, flag, type, context)))
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
